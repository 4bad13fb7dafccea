"""The dyadic tree over shards (numerics rule 4): who computes which shard, and which subtrees meet.

The tree belongs to the number of shards. A worker owns a contiguous run of them and folds it into its maximal
aligned subtrees; what is left meets afterwards. However many workers there are, the same pairs are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Subtree:
    """Shards start .. start + size - 1, size a power of two and a divisor of start."""

    start: int
    size: int

    @property
    def shards(self) -> range:
        """Their ids."""
        return range(self.start, self.start + self.size)


def count_shards(batch_size: int, block_size: int, micro_batch_size: int | None = None) -> int:
    """S, which the config alone decides (numerics rule 1).

    4 below 4,096 tokens a step, else 8, more if a shard would exceed 4,096 tokens, never more than sequences; or by
    hand, by sequences a shard.
    """
    if micro_batch_size is not None:
        fewest, most_sequences = 1, micro_batch_size
    else:
        # A shard is whole sequences, and one sequence may be longer than that.
        fewest, most_sequences = 4 if batch_size * block_size < 4096 else 8, max(1, 4096 // block_size)
    return min(max(fewest, -(-batch_size // most_sequences)), batch_size)


def shard_boundaries(batch_size: int, block_size: int, micro_batch_size: int | None = None) -> list[int]:
    """(S + 1,) first sequence of each shard; sizes differ by at most one sequence."""
    n = count_shards(batch_size, block_size, micro_batch_size)
    return [batch_size * shard // n for shard in range(n + 1)]


def fold_present(present: Collection[int], make: Callable[[int], T], merge: Callable[[T, T], T]) -> T:
    """What `make` gives for each of these shards, at least one, merged along the tree; of an absent pair nothing is.

    Shards are made in ascending order, each as late as the tree allows.
    """

    def subtree(first: int, size: int) -> T | None:
        if size == 1:
            return make(first) if first in present else None
        left, right = subtree(first, size // 2), subtree(first + size // 2, size // 2)
        if left is None or right is None:
            return right if left is None else left
        return merge(left, right)

    whole = subtree(0, 1 << max(present).bit_length())
    assert whole is not None
    return whole


def chain(numbers: Iterable[float], total: float = 0.0) -> float:
    """Their sum in float64, one after the other, onto `total`."""
    for number in numbers:
        total += number
    return total


def mean_losses(losses: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """Of each shard, from its sums of losses and token weights; 0.0 where no token counts."""
    return tuple(loss / weight if weight > 0.0 else 0.0 for loss, weight in zip(losses, weights, strict=True))


def runs_of_shards(n_shards: int, n_workers: int) -> list[tuple[int, int]]:
    """Each worker's contiguous run (first, last + 1)."""
    return [(n_shards * w // n_workers, n_shards * (w + 1) // n_workers) for w in range(n_workers)]


def fold_run(first: int, last: int) -> tuple[list[Subtree], int]:
    """What folding a run leaves, and how many gradients it holds at the most."""
    stack: list[Subtree] = []
    most = 0
    for shard in range(first, last):
        stack.append(Subtree(shard, 1))
        most = max(most, len(stack))
        while len(stack) > 1 and _are_siblings(stack[-2], stack[-1]):
            right = stack.pop()
            stack[-1] = Subtree(stack[-1].start, 2 * right.size)
    return stack, most


def most_held(first: int, last: int) -> int:
    """How many gradients fold_run holds at the most, counted without walking the run; 0 for an empty one.

    That is one more than the subtrees of the longest-winded beginning [first, end), end < last. It ends one before
    the run does, or has ones for all lower digits of some smaller number.
    """
    end = last - 1
    ends = [end, *((end >> digit << digit) - 1 for digit in range(end.bit_length()))]
    return max((1 + _count_subtrees(first, one) for one in ends if one >= first), default=0)


def most_whole(first: int, last: int) -> int:
    """As most_held, but of gradients that are held whole: a right sibling of a single shard is merged op by op.

    That leaves the beginnings of even length, which are those of a run of pairs, and an odd first shard.
    """
    if first == last:
        return 0
    return max(1, first % 2 + most_held((first + 1) // 2, (last + 1) // 2))


def _count_subtrees(first: int, end: int) -> int:
    """Maximal aligned subtrees of [first, end): up to the highest multiple of a power of two, and down from it."""
    if first == end:
        return 0
    power = 1 << (first ^ end).bit_length() - 1
    return (power - first % power).bit_count() + (end % power).bit_count()


def _are_siblings(left: Subtree, right: Subtree) -> bool:
    return left.size == right.size and left.start % (2 * left.size) == 0 and right.start == left.start + left.size


def meetings(
    subtrees: list[Subtree], n_shards: int, roots: Iterable[Subtree] | None = None
) -> list[tuple[int, int]]:
    """Pairs (left, right) of positions in `subtrees`, in an order in which right can be merged into left.

    A subtree without a partner, because the number of shards is no power of two, is passed on as it is. roots: subtrees
    within which they meet; None: all of them in one.
    """
    position = {subtree: i for i, subtree in enumerate(subtrees)}
    pairs: list[tuple[int, int]] = []

    def meet(node: Subtree) -> int | None:
        if node in position:
            return position[node]
        if node.start >= n_shards or node.size == 1:
            return None
        half = node.size // 2
        left, right = meet(Subtree(node.start, half)), meet(Subtree(node.start + half, half))
        if left is not None and right is not None:
            pairs.append((left, right))
        return left if left is not None else right

    for root in roots or [Subtree(0, 1 << (n_shards - 1).bit_length())]:
        meet(root)
    return pairs
