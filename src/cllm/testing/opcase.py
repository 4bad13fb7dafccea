"""An op with sizes, and the numbers that it is tried with; run through its float64 reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.ops import OPS, OpKind
from cllm.plan import differentiable
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS, Mode, Program
from cllm.reference import Reference

SEED, BATCH, FIRST_SEQUENCE = 7, 3, 0

Array = NDArray[Any]
Values = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """An op with sizes: widths of the buffers it reads, and how it is appended to a Program.

    `append(program, *names)` gets the names of the buffers x0, x1, ... of these widths and returns that of the output,
    as in `lambda p, x: p.gelu(x, "act")`. kinds: of ops that are not cllm's own, by name. documents: where, in tokens
    of all sequences, a document begins beside those at the sequences' first tokens.
    """

    name: str
    widths: tuple[int, ...]
    append: Callable[..., str]
    n_sequences: int = 2
    time: int = 5
    vocab_size: int = 11
    documents: tuple[int, ...] = ()
    kinds: Mapping[str, OpKind] = field(default_factory=dict)

    def program(self, mode: Mode = "train") -> Program:
        """A Program of the op alone."""
        p = Program(mode, self.time, self.vocab_size, {**OPS, **self.kinds})
        inputs = [p.buffer(f"x{i}", width) for i, width in enumerate(self.widths)]
        self.append(p, *inputs)
        return p

    @property
    def positions(self) -> NDArray[np.int32] | None:
        """(B, T) of tokens in their documents."""
        if not self.documents:
            return None
        starts = np.union1d(self.documents, np.arange(0, self.rows, self.time))
        places = np.arange(self.rows)
        within = places - starts[np.searchsorted(starts, places, side="right") - 1]
        return within.reshape(self.n_sequences, self.time).astype(np.int32)

    @property
    def rows(self) -> int:
        """B times T."""
        return self.n_sequences * self.time


def draw(case: Case, seed: int = 0) -> Values:
    """Numbers for a case by name: normal float32 draws, and integers.

    Inputs x0, x1, ... (rows, width), parameters in their shapes, the gradients of the outputs "d/" + name (rows,
    width); tokens, targets (one of them not counted) and weights (B, T).
    """
    generator, p = np.random.default_rng(seed), case.program()
    values: Values = {
        f"x{i}": generator.standard_normal((case.rows, w)).astype(np.float32) for i, w in enumerate(case.widths)
    }
    for parameter in p.parameters:
        values[parameter.name] = generator.standard_normal(parameter.shape).astype(np.float32)
    for name in p.ops[0].outputs:
        if name != LOSSES:
            values["d/" + name] = generator.standard_normal((case.rows, p.width(name))).astype(np.float32)
    values[TOKENS] = generator.integers(0, case.vocab_size, (case.n_sequences, case.time)).astype(np.int32)
    values[TARGETS] = generator.integers(0, case.vocab_size, (case.n_sequences, case.time)).astype(np.int32)
    if case.rows > 1:
        values[TARGETS].reshape(-1)[case.rows // 2] = -1
    values[WEIGHTS] = generator.uniform(0.5, 1.5, (case.n_sequences, case.time)).astype(np.float32)
    return values


def run_reference(case: Case, values: Values) -> Values:
    """Outputs (rows, width) under their names, gradients as "d/" + name, all float64."""
    p = case.program()
    wide = {name: v.astype(np.float64) if v.dtype == np.float32 else v for name, v in values.items()}
    reference = Reference(
        p, {q.name: wide[q.name] for q in p.parameters}, wide[TOKENS], wide[TARGETS], wide[WEIGHTS],
        FIRST_SEQUENCE, BATCH, SEED, case.positions,
    )
    reference.values.update({name: wide[name] for name in p.buffers if name in wide})
    reference.forward(0)
    reference.gradients.update({name: wide["d/" + name] for name in p.ops[0].outputs if name != LOSSES})
    reference.backward(0)
    results: Values = {name: reference.values[name].reshape(case.rows, -1) for name in p.ops[0].outputs}
    results.update({"d/" + name: reference.gradients[name] for name in wanted(p)})
    return results


def wanted(p: Program) -> list[str]:
    """Names that a gradient is asked of."""
    op = p.ops[0]
    if p.mode != "train":
        return []
    return differentiable(op) + [n for n in op.parameters if n is not None]
