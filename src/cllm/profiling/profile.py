"""Where the time of a training step goes: every op of the Program on every thread, beside its FLOPs and bytes.

The bytes are those of the arrays that an op is given, each counted once: what it must move, not what it does move.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import CLOCK_MONOTONIC, clock_gettime
from typing import Any

from numpy.typing import NDArray

from cllm.assemble import Assembly
from cllm.profiling.peak import Peak
from cllm.program import EXTERNAL, Op, Program
from cllm.recording import FOLD, MEET, PACK

PHASES = {PACK: "pack weights", FOLD: "fold gradients", MEET: "meet, scale, norm"}
SHARED = ("optimizer",)  # spans that are parallel regions of their own: all threads are in them


@dataclass
class Line:
    """An op, in one layer or all, in one direction, or a phase between ops. Sums over threads and steps."""

    name: str
    direction: str  # "forward", "backward" or ""
    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    n_bytes: float = 0.0

    def add(self, seconds: float, flops: float, n_bytes: float) -> None:
        self.calls += 1
        self.seconds += seconds
        self.flops += flops
        self.n_bytes += n_bytes

    def roof_share(self, peak: Peak) -> float:
        """Of one thread's roofline: 1 is as fast as this machine can be, more where the data was in a cache."""
        return peak.attainable(self.flops, self.n_bytes) * peak.n_threads / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Span:
    """What the calling thread did between begin and end, in seconds of the monotonic clock."""

    name: str
    begin: float
    end: float


@dataclass
class Profile:
    """Some steps of training, as they were seen."""

    program: Program
    n_steps: int
    n_threads: int
    tokens_per_step: int
    threads: list[NDArray[Any]]  # EVENT records of each
    spans: list[Span]
    rows: tuple[int, ...]  # tokens of each shard
    sharing: tuple[int, ...]  # of each thread, how many share an op with it, itself included

    @property
    def seconds(self) -> float:
        """Wall time of all steps."""
        return sum(span.end - span.begin for span in self.spans if span.name == "step")

    def lines(self, by_op: bool = False) -> list[Line]:
        """Slowest first; the ops of all layers together unless `by_op`."""
        lines: dict[tuple[str, str], Line] = {}
        for events, n_parts in zip(self.threads, self.sharing, strict=True):
            for event in events:
                what, seconds = int(event["what"]), float(event["end"] - event["begin"])
                if what < 0:
                    key, work = (PHASES[what], ""), (0.0, 0.0)
                else:
                    op, backward = op_at(self.program, what)
                    key = (op.name if by_op else short_name(op), "backward" if backward else "forward")
                    work = work_of(self.program, op, backward, self.rows[int(event["shard"])])
                lines.setdefault(key, Line(*key)).add(seconds, work[0] / n_parts, work[1] / n_parts)
        for name in SHARED:
            lines[name, ""] = Line(name, "")
            for span in self.spans:
                if span.name == name:
                    lines[name, ""].add((span.end - span.begin) * self.n_threads, 0.0, 0.0)
        return sorted(lines.values(), key=lambda line: -line.seconds)

    def waiting(self) -> float:
        """Seconds of all threads in which none of the lines was at work: Python, waiting for each other, sleeping."""
        at_work = sum(float((events["end"] - events["begin"]).sum()) for events in self.threads)
        at_work += sum(span.end - span.begin for span in self.spans if span.name in SHARED) * self.n_threads
        return self.seconds * self.n_threads - at_work


def op_at(program: Program, place: int) -> tuple[Op, bool]:
    """The op at a place in a shard's way, forward 0 .. n-1 and backward n .. 2n-1, and whether it is backward there."""
    n_ops = len(program.ops)
    return (program.ops[place], False) if place < n_ops else (program.ops[2 * n_ops - 1 - place], True)


def short_name(op: Op) -> str:
    """transformer.h.3.mlp.c_fc: mlp.c_fc. Parts of a name that are numbers, and what stands before, are left out."""
    parts = op.name.split(".")
    after = max((i for i, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[after + 1 :]).removeprefix("transformer.")


def work_of(program: Program, op: Op, backward: bool, rows: int) -> tuple[float, float]:
    """FLOPs and bytes of one op in one direction on a shard of `rows` tokens.

    Where the forward is left to the backward (op.kind.backward_does_forward), so are its FLOPs and bytes.
    """
    flops = op.kind.flops(op.attributes, program.block_size) * rows
    forward_bytes = 4.0 * sum(_size(program, name, rows) for name in op.slots if name is not None)
    if op.kind.backward_does_forward:
        return (3.0 * flops, forward_bytes + _backward_bytes(program, op, rows)) if backward else (0.0, 0.0)
    return (2.0 * flops, _backward_bytes(program, op, rows)) if backward else (flops, forward_bytes)


def _backward_bytes(program: Program, op: Op, rows: int) -> float:
    """Of the values that the backward reads, and of the gradients that it takes and makes."""
    left_alone = {*EXTERNAL, *(op.slots[slot] for slot in op.kind.passes)}
    made = [name for name in (*op.inputs, *op.parameters) if name is not None and name not in left_alone]
    if not made:
        return 0.0  # the gradient of a sum is handed on where it lies
    slots = op.kind.reads if op.kind.matrix is None else (*op.kind.reads, op.kind.matrix)
    read = [name for name in (op.slots[slot] for slot in slots) if name is not None]
    return 4.0 * sum(_size(program, name, rows) for name in (*read, *op.outputs, *made))


def _size(program: Program, name: str, rows: int) -> int:
    if name in program.table:
        return program.table[name].size
    return rows if name in EXTERNAL else program.buffers[name].size(rows)


def profile(parts: Assembly, n_steps: int, n_warm: int = 2) -> Profile:
    """Make n_warm steps and then n_steps that are recorded; the parameters are trained meanwhile."""
    engine, rows = parts.engine, parts.engine.shard_rows
    spans: list[Span] = []
    for _ in range(n_warm):
        make_step(parts)
    with engine.recording(n_steps) as recorded:
        for _ in range(n_steps):
            make_step(parts, spans)
        threads = [events.copy() for events in recorded.threads()]
    return Profile(
        parts.program, n_steps, parts.n_threads, parts.config.tokens_per_step, threads, spans, rows, engine.sharing
    )


def make_step(parts: Assembly, spans: list[Span] | None = None) -> None:
    """A step as the trainer makes it, without reports; what it spends where is added to spans."""
    state, spans = parts.state, [] if spans is None else spans
    with _span("step", spans):
        with _span("batch", spans):
            batch = parts.batches(state.batch_index)
        with _span("gradient", spans):
            gradient = parts.engine.gradient(state.parameters, batch, parts.reducer)
        with _span("checks", spans):
            view = parts.views.of_gradient(gradient, batch, parts.learning_rate(), frozenset(), tuple)
            decision = parts.judges.after_gradient(view)
        with _span("optimizer", spans):
            parts.optimizer.step(
                state.parameters, gradient.gradient,
                learning_rate=view.learning_rate * decision.learning_rate_factor,
                gradient_scale=decision.clip, n_threads=parts.n_threads,
            )
        state.step += 1
        state.batch_index += 1


@contextmanager
def _span(name: str, spans: list[Span]) -> Iterator[None]:
    begin = clock_gettime(CLOCK_MONOTONIC)
    yield
    spans.append(Span(name, begin, clock_gettime(CLOCK_MONOTONIC)))
