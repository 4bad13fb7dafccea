"""From which size on more ranks pay: a model of a step's time, by what is divided and what is moved.

    T(R) = C ceil(S / R) / S + U + 2 L + 8 P (1 - 1/R) / B

C seconds of the shards on one rank, S their number; U of what every rank does for itself: norm, optimizer, batch; L of
a word that all hear, twice a step; P parameters: of a gradient's 4 P bytes a rank sends all but its own slice and
receives as many, and so it is with the total, at B bytes a second one way.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """What the model is fed with; seconds of one rank's step, and of its network."""

    shards: float  # C
    rest: float  # U
    n_shards: int  # S
    n_parameters: int  # P

    def seconds(self, n_ranks: int, latency: float, bandwidth: float) -> float:
        """T(R); bandwidth: bytes a second."""
        if n_ranks == 1:
            return self.shards + self.rest
        share = -(-self.n_shards // n_ranks) / self.n_shards
        moved = moved_bytes(self.n_parameters, n_ranks)
        return self.shards * share + self.rest + 2.0 * latency + moved / bandwidth

    def speedup(self, n_ranks: int, latency: float, bandwidth: float) -> float:
        """Over one rank."""
        return self.seconds(1, latency, bandwidth) / self.seconds(n_ranks, latency, bandwidth)


def moved_bytes(n_parameters: int, n_ranks: int) -> float:
    """That a rank sends in a step; it receives as many."""
    return 8.0 * n_parameters * (1.0 - 1.0 / n_ranks)


def fewest_tokens(flops: float, bandwidth: float, latency: float, n_parameters: int, n_ranks: int) -> float:
    """Tokens a step from which on R ranks are faster than one, whose shards run at `flops` a second.

    Of 6 operations a parameter and token a rank is spared the share 1 - 1/R; what is moved has the same share, so the
    break-even does not depend on R, nor on P but for the latency.
    """
    spared = 1.0 - 1.0 / n_ranks
    return flops / 6.0 * (8.0 / bandwidth + 2.0 * latency / (n_parameters * spared))
