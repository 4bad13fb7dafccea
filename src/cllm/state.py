"""The state of a training run: everything that decides how it goes on, as one value that can be seen.

`TrainState` is the living state, whose arrays the optimizer changes in place; `Snapshot` is the same state
as plain values, which a checkpoint holds. What the config alone decides (schedule, shards) is in neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import ValidationError

from cllm.course import Course
from cllm.digest import Array, Scalar, state_digest
from cllm.errors import CheckpointError
from cllm.hooks.remembering import HasState, remembering

SCAN_ELEMENTS = 1 << 20  # a mask of all parameters would cost a byte for each of them


class ParameterLike(Protocol):
    """What the state needs to know of a parameter; `program.Parameter` is one."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def offset(self) -> int: ...  # in elements, from the start of the flat array
    @property
    def trainable(self) -> bool: ...
    @property
    def tied_to(self) -> str | None: ...  # such a parameter has no elements of its own


@dataclass(frozen=True)
class Snapshot:
    """A state as plain values; its arrays may be views of a living state: save them before the next step."""

    step: int  # updates done
    batch_index: int  # batches consumed, the skipped ones among them
    skipped: tuple[int, ...]  # the batches that made no update
    parameters: Mapping[str, Array]  # each in its own shape, float32; tied ones left out
    optimizer: Mapping[str, Array | Scalar]  # flat arrays (P,), and scalars such as a product of betas
    checks: Mapping[str, Mapping[str, Any]]  # label of a check -> what it remembers, plain JSON values
    course: Mapping[str, Any]  # Course.plain()


@dataclass
class TrainState:
    """The living state; `optimizer` and those `checks` that have a `state_dict` are asked for theirs."""

    table: Sequence[ParameterLike]
    parameters: npt.NDArray[np.float32]  # (P,) all parameters, laid out by `table`
    optimizer: HasState
    checks: Mapping[str, object] = field(default_factory=dict)  # label -> check
    step: int = 0
    batch_index: int = 0
    skipped: list[int] = field(default_factory=list)
    course: Course = field(default_factory=Course)

    def views(self) -> dict[str, Array]:
        """The parameters under their names, as views in their own shapes."""
        return named_views(self.table, self.parameters)

    def digest(self) -> str:
        """The digest of this state by numerics rule 9: parameters, optimizer, cursor."""
        return state_digest(
            self.views(),
            self._optimizer_by_parameter(),
            step=self.step,
            batch_index=self.batch_index,
            skipped=self.skipped,
        )

    def snapshot(self) -> Snapshot:
        """This state as plain values, without copying an array."""
        return Snapshot(
            step=self.step,
            batch_index=self.batch_index,
            skipped=tuple(self.skipped),
            parameters=self.views(),
            optimizer=self._optimizer_state(),
            checks={label: check.state_dict() for label, check in remembering(self.checks).items()},
            course=self.course.plain(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot, parameters in place; CheckpointError if its tensors or checks are others."""
        self.set_parameters(snapshot.parameters, "the checkpoint")
        checks = remembering(self.checks)
        if set(checks) != set(snapshot.checks):
            raise CheckpointError(
                "checkpoint",
                f"it holds the memory of the checks {sorted(snapshot.checks)}",
                f"that of {sorted(checks)}",
                "resume with the checks that the run was started with",
            )
        self.optimizer.load_state_dict(dict(snapshot.optimizer))
        for label, check in checks.items():
            check.load_state_dict(dict(snapshot.checks[label]))
        self.step, self.batch_index = snapshot.step, snapshot.batch_index
        self.skipped = list(snapshot.skipped)
        try:
            self.course = Course.of(snapshot.course)
        except ValidationError as problem:
            came = f"the decisions that it counts are no record of cllm: {problem}"
            raise CheckpointError("checkpoint", came, "what cllm writes", "use an older checkpoint") from problem

    def set_parameters(self, tensors: Mapping[str, Array], source: str) -> None:
        """Copy `tensors` into the flat array, after check_tensors."""
        check_tensors(self.table, tensors, source)
        for name, view in self.views().items():
            view[...] = tensors[name]

    def skip(self, batch_index: int) -> None:
        """Count a batch as consumed that has made no update."""
        self.leave_out(range(batch_index, batch_index + 1))
        self.course.skipped()

    def leave_out(self, batches: range) -> None:
        """These batches, the next ones, are consumed without an update."""
        self.skipped.extend(batches)
        self.batch_index = max(self.batch_index, batches.stop)

    def _optimizer_state(self) -> dict[str, Array | Scalar]:
        return {name: _plain_number(value) for name, value in self.optimizer.state_dict().items()}

    def _optimizer_by_parameter(self) -> dict[str, Array | Scalar]:
        """The optimizer's state, every (P,) array cut up by the table, so that padding enters no digest."""
        cut: dict[str, Array | Scalar] = {}
        for name, value in self._optimizer_state().items():
            if isinstance(value, np.ndarray) and value.shape == self.parameters.shape:
                trainable = [parameter for parameter in self.table if parameter.trainable]
                cut |= {f"{name}/{of}": view for of, view in named_views(trainable, value).items()}
            else:
                cut[name] = value
        return cut


def named_views(table: Sequence[ParameterLike], flat: Array) -> dict[str, Array]:
    """Views of `flat` (P,) under the names and in the shapes of `table`; tied parameters have none."""
    own = [parameter for parameter in table if parameter.tied_to is None]
    return {
        parameter.name: flat[parameter.offset : parameter.offset + _size(parameter)].reshape(parameter.shape)
        for parameter in own
    }


def check_tensors(table: Sequence[ParameterLike], tensors: Mapping[str, Array], source: str) -> None:
    """CheckpointError unless `tensors` has exactly the names, shapes and dtype (float32) of `table`."""
    shapes = {parameter.name: parameter.shape for parameter in table if parameter.tied_to is None}
    problems = [f"{name} is missing" for name in shapes if name not in tensors]
    problems += [f"{name} is unknown to this model" for name in sorted(tensors) if name not in shapes]
    for name in shapes.keys() & tensors.keys():
        tensor = tensors[name]
        if tensor.shape != shapes[name] or tensor.dtype != np.float32:
            found = f"{tensor.dtype.name} {list(tensor.shape)}"
            problems.append(f"{name} is {found}, in this model float32 {list(shapes[name])}")
    if problems:
        more = f" and {len(problems) - 3} more like these" if len(problems) > 3 else ""
        raise CheckpointError(
            "checkpoint",
            f"{source} does not fit the model: {'; '.join(sorted(problems)[:3])}{more}",
            f"the {len(shapes)} tensors of the configured model",
            "give [model] and the tokenizer the values of the run that wrote it",
        )


def refuse_non_finite(snapshot: Snapshot) -> None:
    """CheckpointError, naming tensor and element, if any parameter or optimizer value is NaN or infinite."""
    for kind, name, array in _floating(snapshot):
        position = first_non_finite(array)
        if position is not None:
            raise CheckpointError(
                "checkpoint",
                f"step {snapshot.step}: {kind} {name} is not finite at element {position}",
                "finite values only",
                "go back to the last checkpoint; a check should have stopped this step, please report it",
            )


def first_non_finite(array: Array) -> int | None:
    """The row-major index of the first NaN or infinity in `array`, or None."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, SCAN_ELEMENTS):
        finite = np.isfinite(flat[start : start + SCAN_ELEMENTS])
        if not finite.all():
            return start + int(np.argmin(finite))
    return None


def _floating(snapshot: Snapshot) -> Iterator[tuple[str, str, Array]]:
    for name, tensor in snapshot.parameters.items():
        yield "parameter", name, tensor
    for name, value in snapshot.optimizer.items():
        if isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
            yield "optimizer state", name, np.asarray(value)


def _plain_number(value: Any) -> Array | Scalar:
    """NumPy's scalars as Python's, so that a state saved and loaded has the digest of the state before."""
    plain: Array | Scalar = value.item() if isinstance(value, np.generic) else value
    return plain


def _size(parameter: ParameterLike) -> int:
    size = 1
    for length in parameter.shape:
        size *= length
    return size
