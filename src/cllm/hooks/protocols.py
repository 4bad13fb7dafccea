"""What the objects made from specs must do: one protocol for each kind that a config can name.

They are checked by shape, not by ancestry: a class with these methods is enough. Nothing here imports NumPy.
Letters of the shapes: S shards, P parameters, n the length of a slice of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from cllm.hooks.reports import BatchView, StepReport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cllm.program import Parameter

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Document:
    """A text from a dataset, or a piece of one that is too long to be held whole.

    `offset` counts the characters of the document that came in earlier pieces, which `continues` announces.
    `answers` are spans (first character, end) of `text` that are answers, not empty, in order and disjoint; one that
    crosses the border of two pieces is given in both, each with its own part of it.
    `counts` are sums to report of a preparation, such as {"segments": 12}; a document in pieces gives them
    with the first.
    """

    text: str
    source: str  # where it is from, for messages: a path, a title
    offset: int = 0
    continues: bool = False
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    answers: Sequence[tuple[int, int]] = ()


class Dataset(Protocol):
    """Text from somewhere."""

    def documents(self) -> Iterator[Document]:
        """Yield the documents, each time from the start and in the same order. Raises DataError."""


class Tokenizer(Protocol):
    """Text to token ids and back: a value, rebuilt from its JSON form.

    A tokenizer that learns from text has a classmethod `from_texts(texts: Iterable[str])` as well, which takes
    the options as its second argument where its spec has a config. One whose ids are no whole characters has
    `stream_decoder()`, for text that is shown as it is written, and `n_bytes(ids) -> int`, of the text that ids
    stand for. One whose `encode` may run on several threads at once, without the GIL for the most part, says so by
    `encodes_in_threads = True`: `cllm prepare` does so then.
    """

    @property
    def name(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> NDArray[np.unsignedinteger[Any]]:
        """Return the (n,) ids of `text`, each below vocab_size. Raises TokenizerError."""

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of (n,) ids. Raises TokenizerError for ids that it does not have."""

    def to_json(self) -> dict[str, Any]:
        """Return a form for JSON, with its "name", from which `from_json` makes an equal tokenizer."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tokenizer:
        """Return the tokenizer of a `to_json` form. Raises TokenizerError."""

    def digest(self) -> str:
        """Return a hexadecimal digest of all that decides ids and texts."""


class Initializer(Protocol):
    """What the parameters of a run begin with."""

    def values(self, parameter: Parameter, normal: Callable[[float], Float32]) -> Float32 | None:
        """Return float32 values in the parameter's shape, or None: as its model family says.

        normal(d): draws of N(0, d^2) in that shape, which seed, name and element alone decide; draws from elsewhere
        would not be the same on other machines, nor again.
        """


class FoldReducer(Protocol):
    """Combines gradients two at a time along the tree of shards; runs across threads and processes.

    The host owns the tree: merges follow aligned powers of two, and a shard without a partner is passed on
    as it is. A compiled one has `__cllm_reducer__()`, which returns a capsule of the kernel ABI, instead of the
    methods: its functions run inside the parallel region. An exception stops the run, as a check's Abort does.
    """

    @property
    def kind(self) -> Literal["fold"]: ...

    def merge(self, left: Float32, right: Float32) -> None:
        """Merge `right` (n,) IN into `left` (n,) ADD, whose shards have the smaller ids; n is P, or a slice's length.

        Every element by itself: with several ranks each merges a slice of the parameters.
        """

    def finish(self, total: Float32, n_shards: int) -> None:
        """Turn what the merges left in `total` (P,) into the sum over `n_shards` shards, in place."""


class GatherReducer(Protocol):
    """Combines the gradients of all shards at once, over slices of the parameters: medians, trimmed means.

    A compiled one has `__cllm_reducer__()`, which returns a capsule of the kernel ABI, instead of `combine`: all
    threads are in its function at once. An exception stops the run, as a check's Abort does.
    """

    @property
    def kind(self) -> Literal["gather"]: ...

    def combine(self, gradients: Float32, weights: Float64, out: Float32) -> None:
        """Write the sum over shards, or an estimate of it, to `out` (n,) OUT.

        gradients: (S, n) IN, of the sums of each shard's token losses; weights: (S,) IN, the shards' sums
        of token weights. Called once per slice, in no promised order and possibly from several threads: it
        keeps nothing.
        """


class CompiledReducer(Protocol):
    """A reducer whose functions are compiled, and called without the GIL: see cllm/kernel_abi.h."""

    @property
    def kind(self) -> Literal["fold", "gather"]: ...

    def __cllm_reducer__(self) -> object:
        """Return a capsule named "cllm.reducer", which holds a cllm_reducer."""


Reducer = FoldReducer | GatherReducer | CompiledReducer


class Communicator(Protocol):
    """Moves bytes between the processes of a run, its ranks; what they mean is cllm's.

    All ranks make the same calls in the same order, from one thread, and each returns when this rank has what it waits
    for. An exception ends all ranks. One of `size` 1 is asked for nothing else.
    """

    @property
    def rank(self) -> int:
        """Of this process, 0 to size - 1; 0 writes and prints for all."""

    @property
    def size(self) -> int:
        """How many ranks there are."""

    @property
    def fast(self) -> bool:
        """Whether gradients are added by `add_up` instead of along the tree: then bits depend on the ranks."""

    def tell(self, words: bytes) -> Sequence[bytes]:
        """Return the words of every rank, by rank: some hundred bytes, and now and then some hundred thousand."""

    def exchange(self, sent: Sequence[Float32], received: Sequence[Float32]) -> None:
        """sent: for each rank (n,) IN, received: from each rank (n,) OUT; n is 0 or what both sides know of."""

    def gather(self, whole: Float32, bounds: Sequence[int]) -> None:
        """whole (n,): whole[bounds[r]:bounds[r + 1]] is IN on rank r, and OUT on all others. bounds (size + 1,)."""

    def add_up(self, total: Float32) -> None:
        """total (P,) ADD those of all other ranks, in any order, with the same bits on every rank."""

    def abort(self, message: str) -> None:
        """Print the message and end all ranks at once, this one too."""


# What a check may have, in the order in which a step comes to them; at least one.
PHASES = ("after_shard", "after_reduction", "after_scan", "before_update", "after_update")


class StabilityCheck(Protocol):
    """Judges each step. Its methods are those of the phases that it wants to see, at least one:

    after_shard(ShardView), for each shard by its id once all are computed; after_reduction(GradientView), between the
    reduction of the gradient and the update; after_scan(GradientView, found), the same of a compiled check, whose
    `__cllm_check__()` returns a capsule of the kernel ABI: `found` is what its code has found in the gradient, a tuple
    of numbers; before_update(UpdateView), when the gradient has passed; and
    after_update(UpdatedView), which can answer Ok, Rewind or Abort. Each returns a Verdict.

    One that remembers also has `state_dict() -> dict` of plain JSON values and `load_state_dict(dict)`, and
    is saved in checkpoints under its label. It is asked for its state before every step, and given it back after an
    Abort or where shards are dropped. An exception counts as Abort.
    """


class Optimizer(Protocol):
    """Updates the parameters in place, by the same numerics rules as the kernels (no libm, no BLAS).

    One whose `init` allocates other than 8 bytes for each trainable parameter, which are two float32 moments, has an
    attribute `bytes_per_parameter`: a run that would take too much memory is refused before anything is allocated.
    """

    @property
    def learning_rate(self) -> float:
        """The base learning rate, from its options, which the schedule multiplies."""

    def init(self, parameters: Sequence[Parameter]) -> None:
        """Take the table of parameters and allocate moments; called before anything else.

        And once more where a run goes back to its beginning.
        """

    def step(
        self,
        parameters: Float32,
        gradient: Float32,
        *,
        learning_rate: float,
        gradient_scale: float,
        n_threads: int,
    ) -> bool | None:
        """Update `parameters` (P,) by gradient_scale * `gradient` (P,), which is IN.

        Return whether all are finite afterwards, where that is known; None, and cllm looks itself.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state by name: (P,) arrays (no copies are needed) and numbers."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take over a state_dict of the same table, copying what it keeps. Raises CheckpointError."""


class Schedule(Protocol):
    """The learning rate's course over a run."""

    def __call__(self, step: int) -> float:
        """Return the factor on the base learning rate for the update after `step` earlier ones."""


class Sink(Protocol):
    """Takes reports to where somebody reads them; one that raises is left out from then on, and said so."""

    def emit(self, report: StepReport) -> None:
        """Take the report of a step; every step is offered."""

    def close(self) -> None:
        """The run is over or stopped; also called after an error."""


class Metric(Protocol):
    """A number of one's own in the reports. It decides nothing; one that raises is left out from then on, and said so.

    It keeps nothing either: what it knows of earlier steps would be lost when a run resumes.
    """

    def measure(self, batch: BatchView) -> float:
        """Return the number. Called after each update whose number `[train] log_every` divides, and after the last."""
