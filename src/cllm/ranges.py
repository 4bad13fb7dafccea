"""Where the gradients of each op's parameters lie: what can be merged before a shard's backward is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from cllm.program import TOKENS, Op, Parameter, Program

OWN, FIRST_USER, OTHER_USER = 0, 1, 2
NOWHERE = -1


@dataclass(frozen=True)
class Range:
    """The trainable parameters of one op, first .. last - 1; none if both are 0."""

    first: int
    last: int
    # FIRST_USER and OTHER_USER: several ops add to these gradients, and this is the first of them, or one that follows.
    use: int = OWN
    # Above 0: the first user adds to the rows of its tokens alone, of so many elements each, and there is one other.
    row: int = 0

    @property
    def size(self) -> int:
        return self.last - self.first


def parameter_ranges(program: Program) -> list[Range] | None:
    """The range of each op. None where one is not contiguous, or the op has a shared one beside its own."""
    ranges: list[Range] = []
    met: set[tuple[int, int]] = set()
    users = Counter(name for op in program.ops for name in op.parameters if name is not None)
    for op in program.ops:
        own = _trainable(program, op)
        first, last = min((p.offset for p in own), default=0), max((p.offset + p.size for p in own), default=0)
        shared = any(users[p.name] > 1 for p in own)
        if last - first != sum(p.size for p in own) or (shared and len(own) > 1):
            return None
        ranges.append(Range(first, last, OWN if not shared else OTHER_USER if (first, last) in met else FIRST_USER))
        met.add((first, last))
    return _with_rows(program, ranges)


def _trainable(program: Program, op: Op) -> list[Parameter]:
    table = [program.table[name] for name in op.parameters if name is not None]
    return [parameter for parameter in table if parameter.trainable]


def _with_rows(program: Program, ranges: list[Range]) -> list[Range]:
    """A tied embedding, where it is all that is shared."""
    shared = [index for index, range_ in enumerate(ranges) if range_.use != OWN]
    if len(shared) != 2 or ranges[shared[0]].first != ranges[shared[1]].first:
        return ranges
    op = program.ops[shared[0]]
    if not op.kind.scatters or TOKENS not in op.inputs:
        return ranges
    row = _trainable(program, op)[0].shape[1]
    return [replace(range_, row=row) if index in shared else range_ for index, range_ in enumerate(ranges)]


def rooms_in_total(ranges: list[Range], n_levels: int, n: int) -> list[int]:
    """Of each op, where in a gradient (n,) n_levels more of its range find room at its backward; NOWHERE: they do not.

    An op's backward comes after those of the ops behind it, so what those in front of it will write is free.
    """
    return [_room(range_, ranges[index:], n_levels, n) for index, range_ in enumerate(ranges)]


def _room(range_: Range, written: list[Range], n_levels: int, n: int) -> int:
    if range_.size == 0:
        return NOWHERE
    end = 0
    for first, last in [*sorted((r.first, r.last) for r in written if r.size), (n, n)]:
        begin = -(-end // 16) * 16  # a cache line
        if begin + n_levels * range_.size <= first:
            return begin
        end = max(end, last)
    return NOWHERE
