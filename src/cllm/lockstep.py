"""Whether one team runs its shards in lockstep: every op for all of them before the next op.

Where a gradient is many times a cache, a shard after the other costs memory and traffic: of each a gradient (P,), and
all panels read again. In lockstep an op's panels serve all shards while they are in the cache, and the gradients
of its parameters meet there. The activations of all shards are the price. No bit depends on it: chains and tree are the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cllm.lowering import parameter_ranges
from cllm.program import Program
from cllm.teams import Team, is_large

if TYPE_CHECKING:
    from cllm.hooks.protocols import Reducer


def goes_in_lockstep(
    program: Program, teams: Sequence[Team], n_shards: int, arena: int, reducer: Reducer | None
) -> bool:
    """arena: float32 elements of a shard's activations; reducer: None for the built-in one."""
    if program.mode != "train" or len(teams) != 1 or n_shards == 1 or not is_large(program.n_trainable):
        return False
    if reducer is not None and not is_compiled_fold(reducer):
        return False  # it wants whole gradients
    return parameter_ranges(program) is not None and n_shards * arena <= 2 * program.n_trainable


def is_compiled_fold(reducer: Reducer) -> bool:
    """Whether it merges inside the parallel region, a slice at a time."""
    return reducer.kind == "fold" and hasattr(reducer, "__cllm_reducer__")


def rooms(program: Program) -> tuple[int, int]:
    """Float32 elements of a gradient's shared ranges, and of the largest other one; 0, 0 where there are none."""
    ranges = parameter_ranges(program) or []
    shared = sum(last - first for first, last, kind in ranges if kind == 1)
    return shared, max((last - first for first, last, kind in ranges if kind == 0), default=0)
