"""The memory of an engine: the threads' records, with what each has of its own, and the gradients that teams fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.kernels import CHECKED, at
from cllm.lockstep import NamedRows, Rooms, rooms
from cllm.lowering import WORKER, Lowered
from cllm.program import Program
from cllm.reduction import Subtree, fold_run, meetings
from cllm.teams import Team

Float32 = NDArray[np.float32]


class Workers:
    """The threads' records: who leads whom, arenas, scratch, and which shards each team runs into which gradients."""

    def __init__(self, lowered: Lowered, teams: Sequence[Team], n_threads: int) -> None:
        self._teams = teams
        self.records = np.zeros(n_threads, dtype=WORKER)
        self.records["leader"] = np.arange(n_threads)
        self.records["doing"] = kernels.executor.IDLE
        self._leaders = [self.records[team.leader] for team in teams]
        self.arenas: list[Float32] = []  # one a team: its activations, in lockstep of all its shards
        self._scratch: list[Float32] = []  # one a thread
        for team in teams:
            step = -(-lowered.plan.size // 16) * 16 if lowered.lockstep else 0
            self.arenas.append(aligned.empty(lowered.plan.size + step * (team.last - team.first - 1)))
            self.records[team.leader]["arena"], self.records[team.leader]["arena_step"] = at(self.arenas[-1]), step
            for member in range(team.n_members):
                record = self.records[team.leader + member]
                record["leader"], record["member"], record["n_members"] = team.leader, member, team.n_members
                self._scratch.append(aligned.empty(lowered.scratch_size))
                record["scratch"] = at(self._scratch[-1])
        self._taken: Sequence[Sequence[int]] | None = None
        self.take_runs()

    def poison(self) -> None:
        """In checked builds, before every step: nothing may be left in an arena or in scratch that a step relies on."""
        for memory in (*self.arenas, *self._scratch):
            aligned.poison(memory)

    def runs(self) -> list[tuple[int, int]]:
        """The shards first:last of each team in the next call."""
        return [(int(record["first_shard"]), int(record["last_shard"])) for record in self._leaders]

    def take_runs(self, buffers: Sequence[Sequence[int]] = ()) -> None:
        """Every team takes its contiguous run; buffers: addresses for each, a stack of subtrees or one a shard."""
        if buffers is not self._taken:  # which a step after the other asks for
            self._take([(team.first, team.last) for team in self._teams], buffers)
            self._taken = buffers

    def give_rooms(self, rooms: Sequence[int]) -> None:
        """Addresses, one a team: for the gradients of an op that are merged at once."""
        for record, room in zip(self._leaders, rooms, strict=True):
            record["room"] = room

    def take_one_each(self, shards: Sequence[int], buffers: Sequence[int]) -> None:
        """The first teams take one of these shards each, the others none."""
        self._taken = None
        idle = [(0, 0)] * (len(self._teams) - len(shards))
        self._take([(shard, shard + 1) for shard in shards] + idle, [[buffer] for buffer in buffers])

    def _take(self, runs: Sequence[tuple[int, int]], buffers: Sequence[Sequence[int]]) -> None:
        self._tables = [np.array(addresses, dtype=np.uint64) for addresses in buffers]
        for record, run in zip(self._leaders, runs, strict=True):
            record["first_shard"], record["last_shard"] = run
        for record, table in zip(self._leaders, self._tables, strict=False):
            record["buffers"] = at(table) if table.size else 0


class GradientMemory:
    """Gradients (P,), allocated when a way of combining first needs them."""

    def __init__(self, workers: Workers, teams: Sequence[Team], n: int, roots: Sequence[Subtree]) -> None:
        """roots: what the teams' shards are folded to, one for all where there is but one process."""
        self._workers, self._teams, self._n, self._roots = workers, teams, n, roots
        self._rows: list[Float32] = []
        self._free: list[int] = []
        self._gathered: tuple[NDArray[np.float32], Float32] | None = None
        self._fold_stacks: list[list[int]] | None = None
        self._levels: list[Float32] = []

    def for_lockstep(self, program: Program, n_tokens: int) -> NamedRows | None:
        """The total and the levels; and the rows that tokens name, of a tied embedding."""
        if self._fold_stacks is None:
            n_shards = self._teams[0].last
            needed = Rooms.of(program, n_shards, n_tokens)
            self.folded, self.pairs = [self._row()], np.zeros((0, 2), dtype=np.int64)
            self._levels = [aligned.empty(needed.level) for _ in range(needed.n_levels)]
            self._named = NamedRows(needed, n_shards) if needed.row else None
            self._fold_stacks = [[at(row) for row in (*self.folded, *self._levels)]]
        self._workers.take_runs(self._fold_stacks)
        return self._named

    def for_folds(self, program: Program) -> None:
        """Stacks for the workers' binary counters, and the pairs in which what they leave meets.

        The last of a stack is touched in shared ranges alone, if its shard is always merged op by op.
        """
        if self._fold_stacks is None:
            self._fold_stacks = []
            _, room = rooms(program)
            self._levels = [aligned.empty(room) for _ in self._teams]
            self._workers.give_rooms([at(level) for level in self._levels])
            subtrees, places = [], []
            for team in self._teams:
                left, most = fold_run(team.first, team.last)
                stack = [at(self._row()) for _ in range(most)]
                self._fold_stacks.append(stack)
                subtrees += left
                places += stack[: len(left)]
            self._meet(subtrees, places)
        self._workers.take_runs(self._fold_stacks)

    def for_scattered_folds(self) -> None:
        """Of every shard a gradient of its own, in whatever order they come, and all pairs of the tree."""
        if self._fold_stacks is None:
            self._fold_stacks = [[at(self._row()) for _ in range(team.first, team.last)] for team in self._teams]
            shards = [shard for team in self._teams for shard in range(team.first, team.last)]
            places = [place for stack in self._fold_stacks for place in stack]
            self._meet([Subtree(shard, 1) for shard in shards], places)
        self._workers.take_runs(self._fold_stacks)

    def _meet(self, subtrees: list[Subtree], places: Sequence[int]) -> None:
        """What the teams leave, at these addresses, meets in the roots, each of which begins with one of them."""
        pairs = meetings(subtrees, self._teams[-1].last, self._roots)
        self.pairs = np.array([(places[i], places[j]) for i, j in pairs], dtype=np.int64).reshape(-1, 2)
        roots = {root.start for root in self._roots}
        heads = [place for subtree, place in zip(subtrees, places, strict=True) if subtree.start in roots]
        self.folded = [next(row for row in self._rows if at(row) == head) for head in heads]

    def for_gathers(self, n_shards: int) -> tuple[NDArray[np.float32], Float32]:
        """(S, P) and the (P,) that it is combined into."""
        if self._gathered is None:
            self._gathered = np.empty((n_shards, self._n), dtype=np.float32), self._row()
        return self._gathered

    def spare(self) -> Float32:
        """A row that nobody holds."""
        return self._rows[self._free.pop()] if self._free else self._row()

    def lent(self) -> Float32:
        """A row that somebody holds until the next call."""
        row = self.spare()
        self.free(row)
        return row

    def free(self, row: Float32) -> None:
        self._free.append(next(i for i, own in enumerate(self._rows) if own is row))

    def poison(self) -> None:
        """The same of all gradients, but for whole rows that somebody outside may still hold."""
        for memory in self._levels:
            aligned.poison(memory)

    def _row(self) -> Float32:
        self._rows.append(aligned.empty(self._n))
        if CHECKED:
            aligned.poison(self._rows[-1])
        return self._rows[-1]
