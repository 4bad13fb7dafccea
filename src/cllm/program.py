"""A model as plain data: ops in order, the buffers between them, and the table of parameters.

It computes nothing. reference.py defines what it means, engine.py makes it fast. Ops are appended by the
methods that their records in ops/ bring along, so that a file in models/ reads like the model's page in a paper:
`h = p.layernorm(x, "ln_1")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cllm.errors import ProgramError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cllm.ops import OpKind

Mode = Literal["train", "evaluate", "decode"]

# What a Program is given and what it hands back; all have one entry a token.
TOKENS, TARGETS, WEIGHTS, LOSSES = "tokens", "targets", "weights", "losses"
EXTERNAL = (TOKENS, TARGETS, WEIGHTS, LOSSES)


@dataclass(frozen=True)
class Parameter:
    """A row of the table: where a named tensor lies in the flat arrays, and how it is treated."""

    name: str  # as in Hugging Face checkpoints
    shape: tuple[int, ...]
    offset: int  # elements, in parameters, gradient and moments alike
    deviation: float = 0.0  # initial values: N(0, deviation^2) around `mean`
    mean: float = 0.0
    decay: bool = False  # weight decay applies: matrices only
    learning_rate_scale: float = 1.0
    trainable: bool = True
    tied_to: str | None = None

    @property
    def size(self) -> int:
        n = 1
        for length in self.shape:
            n *= length
        return n


@dataclass(frozen=True)
class Buffer:
    """What lies between ops: `width` float32 for each token of a shard, or for the whole shard."""

    name: str
    width: int
    per_token: bool = True

    def size(self, rows: int) -> int:
        """Elements for a shard of `rows` tokens."""
        return self.width * rows if self.per_token else self.width


@dataclass(frozen=True)
class Op:
    """One op: its record, and the names of what it reads and writes. An absent optional one is None."""

    kind: OpKind
    name: str
    outputs: tuple[str, ...]
    saved: tuple[str | None, ...]  # kept for the backward
    inputs: tuple[str, ...]
    parameters: tuple[str | None, ...]
    attributes: Mapping[str, Any]

    @property
    def layer(self) -> int | None:
        """The number in its name, as in transformer.h.3.attn; None where there is none."""
        return next((int(word) for word in self.name.split(".") if word.isdecimal()), None)

    @property
    def slots(self) -> tuple[str | None, ...]:
        """All arguments in the kernels' order."""
        return (*self.outputs, *self.saved, *self.inputs, *self.parameters)


@dataclass
class Program:
    """Ops, buffers and parameters of one model in one mode; grown by a function in models/, then only read."""

    mode: Mode
    block_size: int
    vocab_size: int
    kinds: Mapping[str, OpKind]
    ops: list[Op] = field(default_factory=list)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    table: dict[str, Parameter] = field(default_factory=dict)

    def __getattr__(self, kind: str) -> Callable[..., str]:
        """`p.layernorm(x, "ln_1")` appends the op that ops/layernorm.py describes."""
        kinds: Mapping[str, OpKind] = self.__dict__.get("kinds", {})
        if kind not in kinds:
            raise AttributeError(f"a Program has no op {kind!r}; it has {', '.join(sorted(kinds))}")
        record = kinds[kind]
        return lambda *arguments, **options: record.build(self, *arguments, **options)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The table in the order of the flat arrays; tied names are not in it twice."""
        return tuple(self.table.values())

    @property
    def n_parameters(self) -> int:
        """P: elements of the flat array of parameters."""
        return sum(parameter.size for parameter in self.table.values())

    @property
    def n_trainable(self) -> int:
        """Elements of the gradient: trainable parameters stand first in the flat array."""
        return sum(parameter.size for parameter in self.table.values() if parameter.trainable)

    def parameter(self, name: str, shape: tuple[int, ...], **treatment: Any) -> str:
        """Add a row to the table, or check that a tied one has this shape; returns its name."""
        if name in self.table:
            if self.table[name].shape != shape:
                raise ProgramError(
                    name, f"shape {shape}", f"{self.table[name].shape}, as where it was first used",
                    "tie only parameters of one shape",
                )
            return name
        last = next(reversed(self.table.values()), None)
        if last is not None and not last.trainable and treatment.get("trainable", True):
            raise ProgramError(name, "a trainable parameter after a frozen one", "frozen ones last", "reorder")
        offset = 0 if last is None else last.offset + last.size
        self.table[name] = Parameter(name, shape, offset, **treatment)
        return name

    def buffer(self, name: str, width: int, per_token: bool = True) -> str:
        """Add a buffer; returns its name."""
        if name in self.buffers or name in EXTERNAL:
            raise ProgramError(name, "a second buffer of this name", "names that differ", "rename one op")
        self.buffers[name] = Buffer(name, width, per_token)
        return name

    def width(self, name: str) -> int:
        """Elements a token of a buffer that was made before."""
        if name not in self.buffers:
            raise ProgramError(name, "an input that no op has written", "a buffer of the Program", "order the ops")
        return self.buffers[name].width

    def append(
        self, kind: str, name: str, *, outputs: tuple[str, ...], saved: tuple[str | None, ...] = (),
        inputs: tuple[str, ...], parameters: tuple[str | None, ...] = (), **attributes: Any,
    ) -> str:
        """Append an op; returns the name of its first output."""
        self.ops.append(Op(self.kinds[kind], name, outputs, saved, inputs, parameters, attributes))
        return outputs[0]

    def views(self, flat: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[Any]]]:
        """The named tensors of a flat array (P,), or of one that has the trainable ones only; no copies."""
        for parameter in self.table.values():
            if parameter.offset + parameter.size <= flat.size:
                end = parameter.offset + parameter.size
                yield parameter.name, flat[parameter.offset : end].reshape(parameter.shape)

    def flops_per_token(self, time: int) -> float:
        """Multiplications and additions of one token's forward and, in training, backward (twice as many)."""
        forward = sum(op.kind.flops(op.attributes, time) for op in self.ops)
        return forward * (3.0 if self.mode == "train" else 1.0)
