"""How the gradients of all ranks become one: each rank owns a slice of the parameters and combines it for all.

A rank has folded its run of shards to maximal aligned subtrees, or, for a gather reducer, has the gradients of its
shards. Everybody sends everybody the slices that are theirs to combine; owners do, along the tree that one process
would have followed; then the slices of the total go to all. So whoever has which shard, the same pairs are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cllm.ranks.agreement import Ranks
from cllm.reduction import Subtree, meetings

Float32 = NDArray[np.float32]
Merge = Callable[[Float32, Float32, int], None]
NOTHING = np.zeros(0, dtype=np.float32)
CACHE_LINE = 16  # float32: slices begin at multiples


class Meeting:
    """Of gradients (P,) over n_shards."""

    def __init__(self, ranks: Ranks, n_shards: int, n_parameters: int) -> None:
        self._ranks, self._n_shards = ranks, n_shards
        self._bounds = slice_bounds(n_parameters, ranks.n_ranks)
        self._shares = [ranks.share.of_rank(rank) for rank in range(ranks.n_ranks)]
        self.runs = [share.shards(n_shards) for share in self._shares]
        self._memory = np.empty((0, self._own.stop - self._own.start), dtype=np.float32)

    @property
    def _own(self) -> slice:
        rank = self._ranks.share.rank
        return slice(self._bounds[rank], self._bounds[rank + 1])

    def fold(
        self, rows: Sequence[Float32], present: Sequence[int], total: Float32, merge: Merge
    ) -> None:
        """total (P,) OUT: the tree over the shards present. rows: (P,) of this rank's roots, which are used up.

        total may be one of them. merge(left, right, place): of their first elements in the parameters. What it raises
        on one rank is raised on all.
        """
        brought = [
            [root for root in share.roots(self._n_shards) if any(shard in root.shards for shard in present)]
            for share in self._shares
        ]
        if self._ranks.communicator.fast:
            self._add_up(rows, brought[self._ranks.share.rank], total, merge)
            return
        slices = self._exchange(rows, brought)

        def fold_slice() -> Sequence[float]:
            _fold(slices, [root for roots in brought for root in roots], self._n_shards, merge, self._own.start)
            total[self._own] = slices[0]
            return ()

        self._ranks.together("combining", fold_slice)
        self._spread(total)

    def gather(
        self, rows: Sequence[Float32], present: Sequence[int], total: Float32,
        combine: Callable[[Float32, Float32, int], None],
    ) -> None:
        """total (P,) OUT: what `combine` makes of the shards present. rows: (P,) of those of this rank.

        combine((S, n) IN, (n,) OUT, place) is called for a slice; what it raises on one rank is raised on all.
        """
        brought = [[shard for shard in present if first <= shard < last] for first, last in self.runs]
        slices = self._exchange(rows, brought)

        def combine_slice() -> Sequence[float]:
            combine(slices, total[self._own], self._own.start)
            return ()

        self._ranks.together("combining", combine_slice)
        self._spread(total)

    def _exchange(self, rows: Sequence[Float32], brought: Sequence[Sequence[object]]) -> Float32:
        """(n, slice) of all that all ranks have brought, by rank, until the next exchange."""
        starts = [sum(map(len, brought[:rank])) for rank in range(len(brought) + 1)]
        received = self._room(starts[-1])
        with self._ranks.unbreakable():
            for turn in range(max(map(len, brought))):
                row = rows[turn] if turn < len(rows) else None
                sent = [NOTHING if row is None else row[first:last] for first, last in pairwise(self._bounds)]
                places = [start + turn if start + turn < end else None for start, end in pairwise(starts)]
                got = [NOTHING if place is None else received[place] for place in places]
                self._ranks.communicator.exchange(sent, got)
        return received

    def _spread(self, total: Float32) -> None:
        """total (P,): every rank has its slice, and is given the others."""
        with self._ranks.unbreakable():
            self._ranks.communicator.gather(total, self._bounds)

    def _add_up(
        self, rows: Sequence[Float32], roots: list[Subtree], total: Float32, merge: Merge
    ) -> None:
        """The fast way: each rank's own sum, and then all of them in whatever order the communicator likes."""
        if rows:
            _fold(rows, roots, self._n_shards, merge, 0)
        else:
            total[:] = 0.0
        with self._ranks.unbreakable():
            self._ranks.communicator.add_up(total)

    def _room(self, n: int) -> Float32:
        if n > len(self._memory):
            self._memory = np.empty((n, self._memory.shape[1]), dtype=np.float32)
        return self._memory[:n]


def _fold(
    rows: Sequence[Float32] | Float32, roots: list[Subtree], n_shards: int, merge: Merge, first: int
) -> None:
    """The first row becomes what all of them come to along the tree."""
    for left, right in meetings(roots, n_shards):
        merge(rows[left], rows[right], first)


def slice_bounds(n_parameters: int, n_ranks: int) -> list[int]:
    """(R + 1,) where each rank's slice begins, about as long as any other."""
    n_lines = -(-n_parameters // CACHE_LINE)
    return [min(n_parameters, CACHE_LINE * (n_lines * rank // n_ranks)) for rank in range(n_ranks + 1)]
