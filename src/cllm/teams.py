"""Which threads work together: each on shards of its own, or several as a team on one shard after the other.

A team splits every op by its output tiles, so no bit depends on how teams are formed (numerics rule 2), only time and
memory: a team has one set of activations and gradients, and it meets after every op.
"""

from __future__ import annotations

from dataclasses import dataclass

from cllm.reduction import runs_of_shards

# A team meets after every op and its parts are never quite alike, so it must promise to be this much faster.
WORTH_MEETING = 1.1
# Gradients of more bytes are many times a cache: a set for every thread costs more than meetings do.
LARGE_GRADIENT = 128 << 20
LARGEST_TEAM = 8  # where gradients are large and shards would do


def is_large(n_parameters: int) -> bool:
    """Whether a gradient is."""
    return 4 * n_parameters > LARGE_GRADIENT


@dataclass(frozen=True)
class Team:
    """Threads leader .. leader + n_members - 1, and their contiguous run of shards first .. last - 1."""

    leader: int
    n_members: int
    first: int
    last: int


def form_teams(
    n_shards: int, n_threads: int, n_cores: int, n_parameters: int, threads_per_shard: int | None = None
) -> list[Team]:
    """The teams of a step. Threads that are in none have nothing to do.

    Only threads that have a core each wait for one another; threads_per_shard asks for teams whatever the cores.
    """
    if threads_per_shard is None:
        n_useful = min(n_threads, n_cores)
        n_teams = _count(n_shards, n_threads, n_useful, n_parameters)
        n_members = max(n_teams, n_useful)
    else:
        n_teams, n_members = min(n_shards, -(-n_threads // threads_per_shard)), n_threads
    bounds = [n_members * team // n_teams for team in range(n_teams + 1)]
    runs = runs_of_shards(n_shards, n_teams)
    return [Team(bounds[i], bounds[i + 1] - bounds[i], *run) for i, run in enumerate(runs)]


def _count(n_shards: int, n_threads: int, n_useful: int, n_parameters: int) -> int:
    """As many teams as possible, unless fewer and larger ones would be done earlier or spare much memory."""
    most = min(n_shards, n_threads)
    if is_large(n_parameters) and n_useful > 1:
        return min(most, -(-n_useful // LARGEST_TEAM))

    def rounds(n_teams: int) -> float:
        return -(-n_shards // n_teams) / max(1, n_useful // n_teams)

    best = min(range(most, 0, -1), key=rounds)
    return best if rounds(best) * WORTH_MEETING <= rounds(most) else most
