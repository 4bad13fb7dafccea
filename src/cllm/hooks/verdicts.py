"""What a stability check answers, and how all answers become one decision.

The order of checks changes nothing. Abort, Rewind, SkipStep and DropShards exclude each other, the most severe first;
otherwise the smallest clip and the smallest learning-rate factor both apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Ok:
    """Nothing to say against this step."""


@dataclass(frozen=True)
class Clip:
    """Multiply the gradient by `factor`, 0 < factor <= 1, before the update."""

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class LowerLR:
    """Multiply the learning rate of this update alone by `factor`, 0 < factor <= 1."""

    factor: float
    reason: str

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class DropShards:
    """Compute this step again without these shards (ids from 0 on), as the mean over the tokens that remain."""

    shards: tuple[int, ...]
    reason: str

    def __post_init__(self) -> None:
        if not self.shards or not all(isinstance(shard, int) and shard >= 0 for shard in self.shards):
            raise ValueError(f"shards are ids from 0 on, at least one, not {self.shards!r}")


@dataclass(frozen=True)
class SkipStep:
    """Make no update from this batch; the next step takes the next batch."""

    reason: str


@dataclass(frozen=True)
class Rewind:
    """Go back to the newest kept state that is at least `steps` updates old; the batches since then are left out."""

    reason: str
    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a rewind goes back 1 step or more, not {self.steps}")


@dataclass(frozen=True)
class Abort:
    """Stop the run; before the update, so that the parameters stay those of the last good step."""

    reason: str


@dataclass(frozen=True)
class Failed(Abort):
    """What counts as the answer of a check that raised, or gave none."""


Verdict = Ok | Clip | LowerLR | DropShards | SkipStep | Rewind | Abort
Kind = Literal["step", "drop", "skip", "rewind", "abort"]

# The verdicts that exclude each other, the most severe first. LowerLR has reasons too, and excludes nothing.
_KINDS: tuple[tuple[Kind, type[Abort] | type[Rewind] | type[SkipStep] | type[DropShards]], ...] = (
    ("abort", Abort), ("rewind", Rewind), ("skip", SkipStep), ("drop", DropShards),
)


@dataclass(frozen=True)
class Decision:
    """What happens to this step. `clip` and `learning_rate_factor` are 1.0 unless `kind` is "step"."""

    kind: Kind
    clip: float = 1.0
    learning_rate_factor: float = 1.0
    shards: frozenset[int] = frozenset()  # that "drop" leaves out
    steps: int = 0  # that "rewind" goes back at least
    reasons: tuple[str, ...] = ()  # each begins with the label of its check
    failed: bool = False  # a check itself did: it is to be mended, not the run


PLAIN = Decision("step")  # which nearly every step is


def decide(verdicts: Iterable[tuple[str, Verdict]]) -> Decision:
    """Return the decision that follows from pairs (label of the check, its verdict), in any order.

    What is no verdict counts as Abort: a check that forgets to answer has not said Ok.
    """
    given = [(label, _understood(verdict)) for label, verdict in verdicts if type(verdict) is not Ok]
    if not given:
        return PLAIN
    answers = [verdict for _, verdict in given]
    for kind, verdict_type in _KINDS:
        if reasons := _reasons(given, verdict_type):
            return Decision(
                kind, reasons=reasons,
                shards=_all_shards(answers) if kind == "drop" else frozenset(),
                steps=max((v.steps for v in answers if isinstance(v, Rewind)), default=0) if kind == "rewind" else 0,
                failed=any(isinstance(verdict, Failed) for verdict in answers),
            )
    return Decision(
        "step",
        clip=min((verdict.factor for verdict in answers if isinstance(verdict, Clip)), default=1.0),
        learning_rate_factor=min((verdict.factor for verdict in answers if isinstance(verdict, LowerLR)), default=1.0),
        reasons=_reasons(given, LowerLR),
    )


def _understood(verdict: object) -> Verdict:
    if isinstance(verdict, Verdict):
        return verdict
    names = ", ".join(kind.__name__ for kind in (Clip, LowerLR, DropShards, SkipStep, Rewind))
    return Failed(f"answered {verdict!r}, which is no verdict; return Ok(), {names} or Abort")


def _reasons(given: Sequence[tuple[str, Verdict]], kind: type[Any]) -> tuple[str, ...]:
    # Sorted, so that the order of checks shows nowhere; the ledger and the messages quote them.
    return tuple(sorted(f"{label}: {verdict.reason}" for label, verdict in given if isinstance(verdict, kind)))


def _all_shards(answers: Sequence[Verdict]) -> frozenset[int]:
    return frozenset(shard for verdict in answers if isinstance(verdict, DropShards) for shard in verdict.shards)


def _check_factor(factor: float) -> None:
    # Written so that NaN is refused too: every comparison with it is false.
    if not 0.0 < factor <= 1.0:
        raise ValueError(f"a factor lies in 0 < factor <= 1, not {factor}")
