"""What happens when a step is stopped: it is computed again from the unchanged parameters, and a receipt is written.

Nothing here is imported before that. The receipt says where the first value that is not finite arose, and from what;
replay.py computes it once more, whenever somebody asks.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cllm import atomic, kernels, receipt
from cllm.assemble import Assembly
from cllm.checkpoint import RunFacts
from cllm.config import to_mapping
from cllm.errors import CllmError, IncidentError
from cllm.hooks.calling import warn
from cllm.hooks.making import problem
from cllm.investigation import Findings, Seen, compute_again
from cllm.judging import Judged
from cllm.locating import place_of, text_of
from cllm.outcomes import Interrupted
from cllm.probing import First, Written
from cllm.program import Program


@dataclass(frozen=True)
class Stopped:
    """A step that was stopped, or loses shards, before anything has changed."""

    parts: Assembly
    facts: RunFacts
    made: Judged  # its gradient is as the engine has left it
    own_reducer: bool  # an object handed over in Python, which no replay finds again
    saved: Path | None  # the file of a checkpoint with these parameters, if there is one

    @property
    def goes_on(self) -> bool:
        """Whether an update will be made all the same, without some shards."""
        return self.made.decision.kind == "step"

    def in_one_process(self) -> Stopped:
        """The same with an engine that needs no other ranks."""
        return replace(self, parts=replace(self.parts, engine=self.parts.engine.alone()))


def report(stopped: Stopped, folder: Path) -> str:
    """Compute the step again and write its receipt into `folder`; returns one line that names place and file.

    The gradient of a step that goes on is afterwards what it was. What goes wrong is warned of, and the line is empty:
    it must not hide what stopped the step.
    """
    gradient = stopped.made.gradient.gradient
    kept = gradient.copy() if stopped.goes_on else None
    try:
        found = _report(stopped.in_one_process(), folder)
        if found and stopped.made.decision.kind != "abort":  # whose message has it
            made = stopped.made
            print(f"cllm: step {made.view.step + 1}, batch {made.batch.index}: {found}", file=sys.stderr)
        return found
    except Interrupted:
        stopped.parts.engine.stop()  # for the call that comes next: this one has spent it
        warn("the step was not looked into: somebody asked to stop")
    except CllmError as error:
        warn(f"the step could not be looked into: {error}")
    except Exception as error:  # such as no memory, or a reducer that fails now
        warn(f"the step could not be looked into: {problem(error)}")
    finally:
        if kept is not None:
            gradient[:] = kept
    return ""


def _report(stopped: Stopped, folder: Path) -> str:
    made, parts = stopped.made, stopped.parts
    view, batch, dropped = made.view, made.batch, sorted(made.view.dropped)
    kind = "drop" if stopped.goes_on else made.decision.kind
    what = {
        "step": view.step + 1, "batch_index": batch.index,
        "decision": {"kind": kind, "reasons": made.decision.reasons}, "dropped": dropped,
    }
    with atomic.disk_errors(IncidentError, "incident", folder):
        folder.mkdir(exist_ok=True)
        full = receipt.is_full(folder)
    if full:
        receipt.write_line(folder, what)
        return ""
    seen = Seen.of_engine(made.gradient)  # first: the engine will use this memory again
    found = compute_again(
        parts.engine, parts.state.parameters, batch, parts.reducer, seen, dropped, parts.config.train.micro_batch_size
    )
    first = _first(stopped, found.walk.first) if found.walk.first is not None else None
    summary = _summary(first, seen)
    content = {
        **what, "run": parts.config.name, "summary": summary, "first": first,
        "seen": {**asdict(seen), "mean_loss": view.loss, "gradient_norm": view.gradient_norm},
        "again": _again(found), "own_reducer": stopped.own_reducer,
        "shards": _shards(stopped, found), "growth": growth(parts.program, found),
        "weights": _weights(stopped, folder), "versions": _versions(stopped), "config": to_mapping(parts.config),
    }
    path = receipt.write(folder, view.step + 1, batch.index, content)
    doubt = f"; computed again it gave other bits: {found.cause}" if found.differs else ""
    return f"{summary}{doubt}; cllm replay {path}"


def _weights(stopped: Stopped, folder: Path) -> dict[str, str] | None:
    """None, with a warning, where they cannot be kept: a receipt that cannot be replayed is better than none."""
    views = dict(stopped.parts.program.views(stopped.parts.state.parameters))
    try:
        return receipt.keep_weights(folder, views, stopped.saved)
    except CllmError as error:
        warn(f"the incident will not be replayed: {error}")
        return None


def _summary(first: Mapping[str, Any] | None, seen: Seen) -> str:
    if first is None:
        finite = seen.loss != "not finite" and not seen.n_nonfinite
        return "every value of every op is finite" if finite else "computed again, every value of every op is finite"
    of = f", gradient of {first['tensor']}{list(first['index'])}" if first["is_parameter"] else ""
    place, most = first["place"], " most from" if first["is_parameter"] else ""
    text = f" {place['text']!r}" if place["text"] is not None else ""
    return (
        f"first non-finite: {first['op']} {first['direction']}{of}, shard {first['shard']},{most} "
        f"sample {place['sample']}, token {place['position']}{text}"
    )


def _first(stopped: Stopped, first: First) -> dict[str, Any]:
    """The first value that is not finite, as a receipt has it."""
    parts, batch = stopped.parts, stopped.made.batch
    op, time = parts.program.ops[first.op], batch.inputs.shape[1]
    sequence = int(parts.engine.boundaries[first.shard]) + first.row // time
    place = place_of(parts.batches, batch, sequence, first.row % time, parts.data.tokenizer)
    team = next(team for team in parts.engine.teams if team.first <= first.shard < team.last)
    bits = np.array([first.value], dtype=np.float32).view(np.uint32)[0]
    return {
        **_op(parts.program, first.op, first.backward), "tensor": first.tensor, "is_parameter": first.is_parameter,
        "index": first.index, "value": first.value, "value_bits": f"0x{int(bits):08x}", "inputs": op.inputs,
        "shard": first.shard, "threads": list(range(team.leader, team.leader + team.n_members)),
        "place": {**asdict(place), "target_text": text_of(parts.data.tokenizer, place.target)},
        "operands": [asdict(operand) for operand in first.operands],
    }


def _op(program: Program, index: int, backward: bool) -> dict[str, Any]:
    op = program.ops[index]
    return {
        "op": op.name, "kind": op.kind.name, "layer": op.layer, "number": index,
        "direction": "backward" if backward else "forward",
    }


def _again(found: Findings) -> dict[str, Any]:
    return {
        "cause": found.cause, "same_bits": not found.differs, "engine_differs_in": found.engine,
        "op_by_op_differs_in": found.stepwise,
    }


def _shards(stopped: Stopped, found: Findings) -> list[dict[str, Any]]:
    """Of each shard what the run saw, and how the values that its ops wrote came out when computed again."""
    bounds = stopped.parts.engine.boundaries.tolist()
    return [
        {
            "shard": shard, "sequences": bounds[shard : shard + 2], "loss": loss, "loss_again": again,
            "n_nonfinite": sum(one.range.n_nonfinite for one in written),
            "magnitude": max(one.range.magnitude for one in written),
        }
        for shard, (loss, again, written) in enumerate(
            zip(stopped.made.gradient.shard_losses, found.walk.shard_losses, found.walk.written, strict=True)
        )
    ]


def growth(program: Program, found: Findings) -> dict[str, Any]:
    """How magnitudes grew from op to op: in the shard of the first value that is not finite, or of the highest loss."""
    walk = found.walk
    losses = walk.shard_losses
    shard = walk.first.shard if walk.first is not None else max(range(len(losses)), key=losses.__getitem__)
    return {"shard": shard, "written": [_written(program, one) for one in walk.written[shard]]}


def _written(program: Program, one: Written) -> dict[str, Any]:
    return {**_op(program, one.op, one.backward), "tensor": one.tensor, **asdict(one.range)}


def _versions(stopped: Stopped) -> dict[str, Any]:
    engine, facts = stopped.parts.engine, stopped.facts
    return {
        "cllm": facts.cllm_version, "numerics": facts.numerics_version, "python": platform.python_version(),
        "numpy": np.__version__, "system": platform.platform(), "isa": kernels.ISA,
        "bf16_native": kernels.BF16_NATIVE, "openmp": kernels.OPENMP, "n_threads": engine.n_threads,
        "teams": [asdict(team) for team in engine.teams], "lockstep": engine.lockstep, "n_shards": engine.n_shards,
        "plugins": list(facts.plugins), "data_digest": facts.data_digest, "tokenizer_digest": facts.tokenizer_digest,
    }
