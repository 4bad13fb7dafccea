"""What one of several processes, a rank, has of a run: its shards of every step, and its part of the machine's cores.

A value; ALONE is that of a run in one process. How ranks speak to each other is in ranks/.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cllm import env
from cllm.machine import cores
from cllm.reduction import Subtree, fold_run, runs_of_shards
from cllm.teams import Team, form_teams


@dataclass(frozen=True)
class Share:
    """Of rank `rank` of `n_ranks`."""

    rank: int = 0
    n_ranks: int = 1
    on_cores: int = 1  # ranks that may run on the same cores, this one included

    @property
    def whole(self) -> Share:
        """The same cores, and all shards."""
        return replace(self, rank=0, n_ranks=1)

    @property
    def cores(self) -> int:
        """How many threads of this rank can run at full speed; at least one."""
        return max(1, cores().usable // self.on_cores)

    @property
    def default_threads(self) -> int:
        """CLLM_THREADS, else a thread for each of these cores."""
        return env.threads() or self.cores

    def has_room_for(self, n_threads: int) -> bool:
        """Whether there is a core for each of so many threads of every rank that shares them."""
        return self.on_cores * n_threads <= cores().usable

    def of_rank(self, rank: int) -> Share:
        """Another rank's, as far as shards go."""
        return replace(self, rank=rank)

    def shards(self, n_shards: int) -> tuple[int, int]:
        """The contiguous run (first, last + 1) of this rank, empty where ranks are more than shards."""
        return runs_of_shards(n_shards, self.n_ranks)[self.rank]

    def roots(self, n_shards: int) -> list[Subtree]:
        """The maximal aligned subtrees of its run, to which it folds them by itself."""
        if self.n_ranks == 1:
            return [Subtree(0, 1 << (n_shards - 1).bit_length())]
        return fold_run(*self.shards(n_shards))[0]

    def teams(
        self, n_shards: int, n_threads: int, n_parameters: int, threads_per_shard: int | None = None
    ) -> list[Team]:
        """Its threads, and the run of each team."""
        first, last = self.shards(n_shards)
        # One without shards has a team all the same: a check may want any shard's gradient of any rank.
        teams = form_teams(max(1, last - first), n_threads, self.cores, n_parameters, threads_per_shard)
        return [replace(team, first=first + team.first, last=min(last, first + team.last)) for team in teams]


ALONE = Share()
