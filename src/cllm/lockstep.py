"""Whether one team runs its shards in lockstep: every op for all of them before the next op.

Where a gradient is many times a cache, a shard after the other costs memory and traffic: of each a gradient (P,), and
all panels read again. In lockstep an op's panels serve all shards while they are in the cache, and the gradients
of its parameters meet there. The activations of all shards are the price. No bit depends on it: chains and tree are the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cllm import aligned
from cllm.program import Program
from cllm.ranges import NOWHERE, OWN, parameter_ranges, rooms_in_total
from cllm.reduction import most_held
from cllm.teams import Team, is_large

if TYPE_CHECKING:
    from cllm.hooks.protocols import Reducer


def goes_in_lockstep(
    program: Program, teams: Sequence[Team], n_shards: int, arena: int, reducer: Reducer | None
) -> bool:
    """n_shards: of the teams; arena: float32 elements of a shard's activations; reducer: None for the built-in one."""
    if program.mode != "train" or len(teams) != 1 or n_shards == 1 or not is_large(program.n_trainable):
        return False
    if reducer is not None and not is_compiled_fold(reducer):
        return False  # it wants whole gradients
    return can_go_in_lockstep(program) and n_shards * arena <= 2 * program.n_trainable


def can_go_in_lockstep(program: Program) -> bool:
    """Whether each op's gradients are whole when its turn has come, but for a tied embedding."""
    ranges = parameter_ranges(program)
    return ranges is not None and all(r.use == OWN or r.row for r in ranges)


def is_compiled_fold(reducer: Reducer) -> bool:
    """Whether it merges inside the parallel region, a slice at a time."""
    return reducer.kind == "fold" and hasattr(reducer, "__cllm_reducer__")


def rooms(program: Program) -> tuple[int, int]:
    """Float32 elements of a gradient's shared ranges, and of the largest other one; 0, 0 where there are none."""
    ranges = parameter_ranges(program) or []
    shared = sum({(r.first, r.last): r.size for r in ranges if r.use != OWN}.values())
    return shared, max((r.size for r in ranges if r.use == OWN), default=0)


@dataclass(frozen=True)
class Rooms:
    """What gradients take in lockstep beside the total, in float32 elements."""

    n_levels: int  # how deep the tree is
    level: int  # of each level, where no room is found for it in the total
    n_rows: int  # of a tied embedding, the most that a batch's tokens can name
    row: int  # elements of one; 0: there is none

    @classmethod
    def of(cls, program: Program, n_shards: int, n_tokens: int) -> Rooms:
        """n_tokens: of a batch."""
        ranges = parameter_ranges(program) or []
        n_levels = most_held(0, n_shards) - 1
        places = rooms_in_total(ranges, n_levels, program.n_trainable)
        level = max((r.size for r, place in zip(ranges, places, strict=True) if place == NOWHERE), default=0)
        tied = next((r for r in ranges if r.row), None)
        return cls(n_levels, level, *((min(n_tokens, tied.size // tied.row), tied.row) if tied else (0, 0)))

    def size(self, n_shards: int) -> int:
        """Of all together."""
        return self.n_levels * self.level + n_shards * self.n_rows * self.row


class NamedRows:
    """The rows of a tied embedding's gradient that a batch's tokens name: each shard's, until all its ops have added.

    All other rows are whole after the head, and can be merged at once.
    """

    def __init__(self, rooms: Rooms, n_shards: int) -> None:
        self.shard_size = rooms.n_rows * rooms.row
        self.memory = aligned.empty(n_shards * self.shard_size)
        self.rows = np.zeros(0, dtype=np.int64)  # ascending
        self.renumbered: NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # the tokens as places in `rows`

    def name(self, tokens: NDArray[np.int32]) -> None:
        """tokens (B, T)."""
        rows, places = np.unique(tokens, return_inverse=True)
        self.rows, self.renumbered = rows.astype(np.int64), places.reshape(tokens.shape).astype(np.int32)
