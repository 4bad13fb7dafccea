"""Runs a Program in float64 NumPy: the definition that the kernels are measured against. Not for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cllm.ops.kind import Array, Call
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS, Op, Program


@dataclass
class Reference:
    """One shard of one batch: values after `forward`, gradients after `backward`, all by name.

    parameters: name -> array; tokens, targets (B, T) integers, weights (B, T). `values` has activations as
    (rows, width); `gradients` has those of activations and parameters, for the sum of the weighted token losses.
    """

    program: Program
    parameters: Mapping[str, Array]
    tokens: Array
    targets: Array | None = None
    weights: Array | None = None
    sequence: int = 0
    batch: int = 0
    seed: int = 0
    positions: Array | None = None  # (B, T) of tokens in their documents, which do not see each other
    values: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values[TOKENS] = self.tokens.reshape(-1)
        if self.targets is not None:
            weights = np.ones(self.targets.shape) if self.weights is None else self.weights
            self.values[TARGETS] = self.targets.reshape(-1)
            self.values[WEIGHTS] = weights.reshape(-1).astype(np.float64)

    def run(self) -> float:
        """All ops forward and, in training, backward; returns the sum of the weighted token losses."""
        for index in range(len(self.program.ops)):
            self.forward(index)
        if self.program.mode == "train":
            for index in reversed(range(len(self.program.ops))):
                self.backward(index)
        return float(self.values[LOSSES].sum()) if LOSSES in self.values else float("nan")

    def forward(self, index: int) -> None:
        """Op number `index` forward."""
        op = self.program.ops[index]
        results = op.kind.forward(self._call(index), *self._arguments(op))
        for name, value in zip((*op.outputs, *op.saved), results, strict=True):
            if name is not None:
                self.values[name] = value

    def backward(self, index: int) -> None:
        """Op number `index` backward, adding to the gradients of its inputs and parameters."""
        op = self.program.ops[index]
        if op.kind.backward is None:
            return
        outputs = tuple(self.values[name] for name in (*op.outputs, *op.saved) if name is not None)
        incoming = tuple(self._incoming(name) for name in op.outputs)
        results = op.kind.backward(self._call(index), incoming, outputs, *self._arguments(op))
        for name, gradient in zip((*op.inputs, *op.parameters), results, strict=True):
            if name is not None and gradient is not None:
                self.gradients[name] = self.gradients[name] + gradient if name in self.gradients else gradient

    def _incoming(self, name: str) -> Array:
        return np.ones(self.tokens.size) if name == LOSSES else self.gradients[name]

    def _arguments(self, op: Op) -> list[Array | None]:
        inputs: list[Array | None] = [self.values[name] for name in op.inputs]
        return inputs + [None if name is None else self.parameters[name] for name in op.parameters]

    def _call(self, index: int) -> Call:
        op = self.program.ops[index]
        positions = None if self.positions is None else self.positions.reshape(-1)
        return Call(op.attributes, self.tokens.shape[1], index, self.sequence, self.batch, self.seed, positions)
