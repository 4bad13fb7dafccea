"""How many bytes a run takes, by purpose: counted from shapes before any of them is allocated, refused if too many.

What lives for a moment is counted where it comes on top of the rest: the arrays of which a batch is made. The
interpreter, its libraries and what is less than a byte a parameter or token are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cllm.disorder import keeps_every_shard
from cllm.lockstep import Rooms, goes_in_lockstep, is_compiled_fold, rooms
from cllm.lowering import Sizes, sizes
from cllm.program import Program
from cllm.reduction import count_shards, most_held, most_whole
from cllm.share import ALONE, Share
from cllm.teams import Team

if TYPE_CHECKING:
    from cllm.hooks.protocols import Optimizer, Reducer

FLOAT = 4
# Of a batch, for each token: inputs, targets, weights and documents, and what is needed besides while they are
# filled (places as int64, tokens as they are in the file, documents as int64); for each sequence, where it begins.
BATCH_TOKEN, FILLING_TOKEN, FILLING_SEQUENCE = 16, 17, 150
SHARD = 100  # its boundaries, its sums and means of losses, its place in tables
TWO_MOMENTS = 2 * FLOAT  # what an optimizer takes for each parameter if it does not say
FEW_LAYERS = 16  # a plan of 1,000 layers takes a minute to write out, one of 10^12 never ends


def run_memory(
    training: Program, evaluating: Program | None, optimizer: Optimizer, reducer: Reducer, *,
    batch_size: int, n_threads: int, micro_batch_size: int | None = None, executor: str = "fused",
    share: Share = ALONE,
) -> dict[str, int]:
    """Bytes by purpose of a whole run, or of one rank of it; `evaluating` is None where nothing is held out."""
    engine = engine_memory(training, batch_size, n_threads, micro_batch_size, reducer, executor=executor, share=share)
    evaluator = engine_memory(evaluating, batch_size, n_threads, share=share.whole) if evaluating is not None else {}
    bytes_per_parameter = getattr(optimizer, "bytes_per_parameter", TWO_MOMENTS)
    # The batch that is being made stands beside the one before it, and in an evaluation beside that of the last step.
    n_batches = 2 if evaluating is None else 3
    tokens = batch_size * training.block_size
    return {
        "parameters": FLOAT * training.n_parameters,
        **engine,
        "optimizer": int(bytes_per_parameter * training.n_trainable),
        "norms": FLOAT * sum(parameter.shape[-1] for parameter in training.parameters if parameter.trainable),
        "batches": tokens * (n_batches * BATCH_TOKEN + FILLING_TOKEN) + batch_size * FILLING_SEQUENCE,
        "evaluation": sum(evaluator.values()),
    }


def decoder_memory(program: Program, n_threads: int, lowered: Sizes | None = None) -> int:
    """Bytes of a decoder. lowered: the Program's sizes, where they are known already."""
    if lowered is None:
        lowered = sizes(program, program.block_size, program.block_size)
    return FLOAT * (lowered.arena + n_threads * lowered.scratch + lowered.packed)


def engine_memory(
    program: Program, batch_size: int, threads: int | Sequence[Team], micro_batch_size: int | None = None,
    reducer: Reducer | None = None, lowered: Sizes | None = None, *, executor: str = "fused", share: Share = ALONE,
) -> dict[str, int]:
    """Bytes by purpose of an engine with a share of the shards, for the built-in reducer where none is given.

    threads: how many, or the teams that they form. lowered: the Program's sizes, where they are known already.
    """
    n_shards = count_shards(batch_size, program.block_size, micro_batch_size)
    teams = share.teams(n_shards, threads, program.n_trainable) if isinstance(threads, int) else threads
    n_own, roots = sum(team.last - team.first for team in teams), share.roots(n_shards)
    may = len(roots) == 1
    if lowered is None:
        rows, time = -(-batch_size // n_shards) * program.block_size, program.block_size
        lowered = sizes(program, rows, time)
        if may and goes_in_lockstep(program, teams, n_own, lowered.arena, reducer):
            lowered = sizes(program, rows, time, lockstep=n_own)
    lockstep = may and goes_in_lockstep(program, teams, n_own, lowered.arena, reducer)
    n_arenas = n_own if lockstep else len(teams)
    scratch = sum(team.n_members for team in teams) * lowered.scratch
    gradients = 0
    if lockstep:
        n_tokens = batch_size * program.block_size
        gradients = program.n_trainable + Rooms.of(program, n_own, n_tokens).size(n_own)
    elif program.mode == "train":
        scattered = keeps_every_shard(executor) and (reducer is None or is_compiled_fold(reducer))
        gradients = n_own * program.n_trainable if scattered else _gradients(program, n_own, teams, reducer, len(roots))
    exchanged = {"exchange": FLOAT * _exchanged(program, n_shards, reducer, share)} if share.n_ranks > 1 else {}
    return {
        "packed weights": FLOAT * lowered.packed,
        "activations and scratch": FLOAT * (n_arenas * lowered.arena + scratch),
        "gradients": FLOAT * gradients,
        "losses": FLOAT * batch_size * program.block_size + SHARD * n_shards,
        **exchanged,
    }


def _exchanged(program: Program, n_shards: int, reducer: Reducer | None, share: Share) -> int:
    """Elements of the slices that a rank has of what all ranks bring; see ranks/meeting.py."""
    gathers = reducer is not None and reducer.kind == "gather"
    n_rows = n_shards if gathers else sum(len(share.of_rank(r).roots(n_shards)) for r in range(share.n_ranks))
    return n_rows * -(-program.n_trainable // share.n_ranks)


def _gradients(
    program: Program, n_shards: int, teams: Sequence[Team], reducer: Reducer | None, n_roots: int
) -> int:
    """Elements of all gradients that are held at once, of a shard after the other."""
    shared, level = rooms(program)
    if level == 0 or (reducer is not None and not is_compiled_fold(reducer)):
        return program.n_trainable * _most_gradients(n_shards, teams, reducer, n_roots)
    runs = [(team.first, team.last) for team in teams]
    return sum(
        most_whole(*run) * program.n_trainable + (most_held(*run) - most_whole(*run)) * shared + level for run in runs
    )


def _most_gradients(n_shards: int, teams: Sequence[Team], reducer: Reducer | None, n_roots: int) -> int:
    """How many gradients (P,) are held at once."""
    if reducer is not None and reducer.kind == "gather":
        return n_shards + 1  # and what they are combined into
    if reducer is None or is_compiled_fold(reducer):
        return sum(most_held(team.first, team.last) for team in teams)
    # A fold in Python: one for each team, and the subtrees of the shards before.
    return min(n_shards, len(teams) + n_shards.bit_length() + n_roots - 1)


def by_layers(memory: Callable[[int], dict[str, int]], n_layer: int) -> dict[str, int]:
    """memory(n_layer), reckoned from models of fewer layers where there are many: each takes what another does."""
    if n_layer <= FEW_LAYERS:
        return memory(n_layer)
    more, less = memory(FEW_LAYERS), memory(FEW_LAYERS // 2)
    return {
        purpose: size + (size - less[purpose]) * (n_layer - FEW_LAYERS) // (FEW_LAYERS - FEW_LAYERS // 2)
        for purpose, size in more.items()
    }
