"""The developers' switches: the one place that reads CLLM_* environment variables.

Users configure runs in TOML and on the command line; nothing here changes a bit of a run.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from cllm.errors import UsageError


@dataclass(frozen=True)
class Variable:
    """One environment variable: its name, the values it takes and what it does."""

    name: str
    values: str
    summary: str


# More would only be a slip of the keyboard, and a system that cannot make them ends the process without a word.
MOST_THREADS = 1024

DEBUG = Variable(
    "CLLM_DEBUG",
    "0-3",
    "1: phase times, 2: norms per step, 3: every op compared with the reference, stopping at a difference",
)
FAULT = Variable(
    "CLLM_FAULT",
    "op=KIND_DIRECTION,shard=N,step=N,...",
    "in a checked build: a fault after one op of one shard of one batch; keys below",
)
ISA = Variable("CLLM_ISA", "portable, v3, v4", "the kernels' instruction set, instead of the processor's best")
THREADS = Variable(
    "CLLM_THREADS", f"1 to {MOST_THREADS}", "how many threads run where neither command line nor config says"
)
TRACE_PLUGINS = Variable("CLLM_TRACE_PLUGINS", "0 or 1", "1: print every hook call and the plugin that answers")

VARIABLES: tuple[Variable, ...] = (DEBUG, FAULT, ISA, THREADS, TRACE_PLUGINS)

_FAULTS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "huge": 3e38}
_ISAS = ("portable", "v3", "v4")


def debug() -> int:
    """Return the debug level, 0 to 3."""
    return _integer(DEBUG, lowest=0, highest=3) or 0


@dataclass(frozen=True)
class Fault:
    """What CLLM_FAULT asks for: after this op of this shard of this batch, one element of what it has written."""

    op: str  # a kind of op, or the name of one
    backward: bool
    layer: int | None  # of several ops of a kind; None: the first
    shard: int
    step: int  # index of the batch, from 0
    tensor: str | None  # what is written to; None: the first that the op has written
    element: int
    value: float


def fault() -> Fault | None:
    """Return the fault asked for, as in op=attention_backward,layer=3,shard=5,step=17,value=nan."""
    text = _text(FAULT)
    if text is None:
        return None
    given = dict(pair.partition("=")[::2] for pair in text.split(","))
    op, _, direction = given.pop("op", "").rpartition("_")
    value, tensor = _FAULTS.get(given.pop("value", "nan")), given.pop("tensor", None)
    numbers = {key: int(number) for key, number in given.items() if number.isascii() and number.isdecimal()}
    known = {"layer", "shard", "step", "element"}
    if not op or direction not in ("forward", "backward") or value is None or numbers.keys() != given.keys():
        raise _refused(FAULT, text)
    if not {"shard", "step"} <= numbers.keys() <= known:
        raise _refused(FAULT, text)
    return Fault(
        op, direction == "backward", numbers.get("layer"), numbers["shard"], numbers["step"], tensor,
        numbers.get("element", 0), value,
    )


def isa() -> str | None:
    """Return the instruction set asked for, or None where the processor decides."""
    text = _text(ISA)
    if text is not None and text not in _ISAS:
        raise _refused(ISA, text)
    return text


def threads() -> int | None:
    """Return the number of threads asked for, or None where the machine decides."""
    return _integer(THREADS, lowest=1, highest=MOST_THREADS)


def trace_plugins() -> bool:
    """Return whether hook calls are printed."""
    return bool(_integer(TRACE_PLUGINS, lowest=0, highest=1))


def has_display() -> bool:
    """Return whether a window could be opened: the variables are the desktop's, not cllm's."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def check() -> None:
    """Raises UsageError for a switch whose value makes no sense, also where nobody would have read it."""
    for read in (debug, fault, isa, threads, trace_plugins):
        read()


def _text(variable: Variable) -> str | None:
    # An empty value counts as unset: `CLLM_ISA= cllm train` is how a shell switches one off for one command.
    return os.environ.get(variable.name, "").strip() or None


def _integer(variable: Variable, lowest: int, highest: int) -> int | None:
    text = _text(variable)
    if text is None:
        return None
    # isdecimal alone would take digits of every script; int() would take "1_0" and "+1".
    if not (text.isascii() and text.isdecimal()):
        raise _refused(variable, text)
    number = int(text)
    if not lowest <= number <= highest:
        raise _refused(variable, text)
    return number


def _refused(variable: Variable, text: str) -> UsageError:
    return UsageError(
        who="environment",
        came=f"{variable.name} = {text!r}",
        expected=variable.values,
        todo=f"correct it, or `unset {variable.name}`",
    )
