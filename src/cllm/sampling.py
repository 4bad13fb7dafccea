"""Chooses the next token from logits: a function of the logits, the seed and the position alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cllm import kernels
from cllm.errors import KernelError, UsageError, check_kind
from cllm.floats import standard_floats
from cllm.philox import SEED_BITS, STREAM_SAMPLE, key_of, philox4x32


@dataclass(frozen=True)
class Sampling:
    """temperature 0 takes the likeliest; top_k and top_p keep the likeliest k, or the fewest that make up p."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind, expected in (
            ("temperature", float | int, "a number"), ("top_k", int | None, "a whole number, or None"),
            ("top_p", float | int | None, "a number, or None"), ("seed", int, "a whole number"),
        ):
            check_kind(UsageError, "sampling", name, getattr(self, name), kind, expected, "correct it")
        if not 0.0 <= self.temperature < float("inf"):
            raise UsageError("sampling", f"temperature {self.temperature}", "0 or more", "try 0.8")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError("sampling", f"top-k {self.top_k}", "1 or more", "leave it out to keep all tokens")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise UsageError("sampling", f"top-p {self.top_p}", "above 0 and at most 1", "leave it out to keep all")
        if not 0 <= self.seed < 1 << SEED_BITS:
            raise UsageError("sampling", f"seed {self.seed}", f"0 or more and below 2^{SEED_BITS}", "choose another")


@standard_floats()
def choose(logits: NDArray[np.float32], sampling: Sampling, position: int) -> int:
    """The id of the next token; `position` counts the tokens generated before it.

    Raises KernelError for a logit that is NaN or infinite: argmax and sorting would give some token all the same.
    """
    _refuse_nonfinite(logits)
    temperature = np.float32(sampling.temperature)
    if temperature == 0.0:  # also where it is too small for a float32: 0 / 0 is no weight
        return int(np.argmax(logits))
    scaled = (logits - logits.max()) / temperature
    weights = kernels.map_float32("exp", scaled).astype(np.float64)
    order = np.argsort(-weights, kind="stable")[: sampling.top_k]
    # An accumulated sum has one order by definition, unlike NumPy's sum.
    running = np.add.accumulate(weights[order])
    if sampling.top_p is not None:
        n_kept = int(np.searchsorted(running, sampling.top_p * running[-1])) + 1
        order, running = order[:n_kept], running[:n_kept]
    place = int(np.searchsorted(running, _uniform(sampling.seed, position) * running[-1], side="right"))
    return int(order[min(place, len(order) - 1)])


def _refuse_nonfinite(logits: NDArray[np.float32]) -> None:
    finite = np.isfinite(logits)
    if not finite.all():
        token = int(np.argmin(finite))
        raise KernelError(
            "sampling", f"the logit {logits[token]} of token {token}", "finite logits",
            "the parameters are not finite or far too large: load an earlier checkpoint",
        )


def _uniform(seed: int, position: int) -> float:
    """In [0, 1), from 53 bits."""
    low, high, _, _ = philox4x32((position, 0, 0, 0), key_of(seed, STREAM_SAMPLE))
    return float((high << 32 | low) >> 11) / 9007199254740992.0
