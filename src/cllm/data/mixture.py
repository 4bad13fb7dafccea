"""A weighted mixture of token files as one source of samples.

Samples are dealt in rounds of ROUND: each round has the same number of places for each part, by its
weight, in an order that a keyed permutation shuffles anew for each round. So the shares are kept exactly
in every round, every part goes through its own epochs without repetition, and which sample of which part
comes n-th is a pure function of the seed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from cllm import philox
from cllm.data.draws import BLOCK, permuted
from cllm.data.tokenfile import TokenFile
from cllm.errors import DataError

ROUND = BLOCK  # 4096, so a weight is kept to 1/4096


@dataclass(frozen=True, eq=False)
class Mixture:
    """Token files of one tokenizer, and how many of ROUND samples each of them gives."""

    parts: tuple[TokenFile, ...]
    places: tuple[int, ...]  # one each, at least 1, together ROUND

    @classmethod
    def of(cls, parts: Sequence[TokenFile], weights: Sequence[float]) -> Mixture:
        """Mix files by weights of any sum. Raises DataError for what does not go together."""
        _check_parts(parts)
        return cls(tuple(parts), deal(weights, len(parts)))

    @property
    def vocab_size(self) -> int:
        return max(part.vocab_size for part in self.parts)

    @property
    def n_tokens(self) -> int:
        return sum(part.n_tokens for part in self.parts)

    @property
    def tokenizer_digest(self) -> str:
        return self.parts[0].tokenizer_digest


def deal(weights: Sequence[float], n_parts: int) -> tuple[int, ...]:
    """Weights -> places of ROUND: each its share rounded down, at least 1; the rest by largest remainders.

    Uses + - * / and comparing only, in the order given: the same places on any machine.
    """
    if len(weights) != n_parts or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise _refuse(
            f"weights {list(weights)} for {n_parts} parts", "a number above 0 for each", "correct the weights"
        )
    if n_parts > ROUND // 4:
        raise _refuse(f"{n_parts} parts", f"at most {ROUND // 4}", "join the small ones")
    largest = max(weights)
    shares = [weight / largest for weight in weights]  # first, so that no sum overflows
    total = 0.0
    for share in shares:
        total += share
    exact = [share / total * ROUND for share in shares]
    places = [max(1, math.floor(value)) for value in exact]
    order = sorted(range(n_parts), key=lambda part: (places[part] - exact[part], part))
    left = ROUND - sum(places)
    for part in order[: max(left, 0)]:
        places[part] += 1
    for _ in range(-left):  # tiny parts that were lifted to 1
        places[places.index(max(places))] -= 1
    return tuple(places)


class Deal:
    """Number of a sample of the mixture -> (part, number of that part's own sample)."""

    def __init__(self, places: Sequence[int], seed: int) -> None:
        self._places = tuple(places)
        self._ends = list(accumulate(places))  # part p has the places from the end of p - 1 up to its own
        self._seed = seed
        self._round = lru_cache(maxsize=2)(self._shuffle)

    def __call__(self, sample: int) -> tuple[int, int]:
        number, turn = divmod(sample, ROUND)
        place = self._round(number)[turn]
        part = bisect_right(self._ends, place)
        within = place - self._ends[part] + self._places[part]
        return part, number * self._places[part] + within

    def _shuffle(self, number: int) -> list[int]:
        return permuted(0, ROUND, self._seed, philox.STREAM_MIXTURE, number).tolist()  # type: ignore[no-any-return]


def _check_parts(parts: Sequence[TokenFile]) -> None:
    if not parts:
        raise _refuse("no parts", "at least one", "name token files")
    first = parts[0]
    for part in parts[1:]:
        if part.tokenizer_digest != first.tokenizer_digest:
            came = f"{part.path} ({_tokenizer(part)}) beside {first.path} ({_tokenizer(first)})"
            raise _refuse(came, "one tokenizer for all parts", "prepare them with the same tokenizer")


def _tokenizer(file: TokenFile) -> str:
    return f"{file.tokenizer_name or 'unknown tokenizer'}, {file.vocab_size} tokens"


def _refuse(came: str, expected: str, todo: str) -> DataError:
    return DataError(who="mixture", came=came, expected=expected, todo=todo)
