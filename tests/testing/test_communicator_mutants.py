"""Communicators that are wrong in one way each: check_communicator finds each, and says what is wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from cllm.testing import check_communicator
from tests.ranks.crowd import Crowd, Member, each


class Rotated(Member):
    def tell(self, words: bytes) -> list[bytes]:
        heard = super().tell(words)
        return [*heard[self.rank :], *heard[: self.rank]]


class OthersAlone(Member):
    def tell(self, words: bytes) -> list[bytes]:
        return [word for rank, word in enumerate(super().tell(words)) if rank != self.rank]


class CutsLongWords(Member):
    def tell(self, words: bytes) -> list[bytes]:
        return super().tell(words[:1024])


class EndsAtZero(Member):
    """As C's strings do."""

    def tell(self, words: bytes) -> list[bytes]:
        return [word.partition(b"\0")[0] for word in super().tell(words)]


class ForgetsItself(Member):
    def exchange(self, sent: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> None:
        there = [np.zeros_like(one) if rank == self.rank else one for rank, one in enumerate(received)]
        super().exchange(sent, there)


class WritesToSent(Member):
    def exchange(self, sent: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> None:
        super().exchange(sent, received)
        for one in sent:
            one[:] = 0.0


class MakesNumbersOfBits(Member):
    """Arithmetic turns a signalling NaN into a quiet one, and -0.0 into 0.0."""

    def exchange(self, sent: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> None:
        with np.errstate(all="ignore"):
            super().exchange([one + np.float32(0.0) for one in sent], received)


class SendsWhenItLikes(Member):
    """Others read what is sent when the call is long over."""

    def exchange(self, sent: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> None:
        board = self._shown(sent, list)
        time.sleep(0.1 * (self.rank == 0))
        for one, there in zip(board, received, strict=True):
            there[:] = one[self.rank]


class FromTheFirstAlone(Member):
    def gather(self, whole: np.ndarray, bounds: Sequence[int]) -> None:
        super().gather(whole, [0, *[len(whole)] * self.size])


class AddsItselfFirst(Member):
    def add_up(self, total: np.ndarray) -> None:
        for other in self._shown(total.copy(), lambda board: [*board[: self.rank], *board[self.rank + 1 :]]):
            total += other


class LosesNaN(Member):
    def add_up(self, total: np.ndarray) -> None:
        np.copyto(total, 0.0, where=np.isnan(total))
        super().add_up(total)


class LosesInfinity(Member):
    def add_up(self, total: np.ndarray) -> None:
        np.copyto(total, np.float32(3e38), where=np.isposinf(total))
        super().add_up(total)


class Spreads(Member):
    def add_up(self, total: np.ndarray) -> None:
        super().add_up(total)
        total += np.float32(0.0) * total.max()


class Averages(Member):
    def add_up(self, total: np.ndarray) -> None:
        super().add_up(total)
        total /= np.float32(self.size)


class WithoutExchange(Member):
    exchange = property()  # type: ignore[assignment]


MUTANTS: dict[type[Member], str] = {
    Rotated: "tell gives b'1' for the b'0' of rank 0",
    OthersAlone: "tell gives 2 words",
    CutsLongWords: "tell gives 1024 bytes for the 512000 bytes of rank 0",
    EndsAtZero: "tell gives b'' for the 256 bytes of rank 1",
    ForgetsItself: "exchange gives something else than the",
    WritesToSent: "exchange writes to what is sent, which is IN",
    MakesNumbersOfBits: "exchange gives something else than the",
    SendsWhenItLikes: "exchange gives something else than the",
    FromTheFirstAlone: "gather gives something else than the",
    AddsItselfFirst: "add_up of 4 elements has other bits than on another rank",
    LosesNaN: "add_up of nan in the elements [1, 17, 33] has what is not finite in []",
    LosesInfinity: "add_up of inf in the elements [1, 17, 33] has what is not finite in []",
    Spreads: "add_up of nan in the elements [1, 17, 33] has what is not finite in [0, 1, 2, 3, 4]",
    Averages: "add_up gives no sum, at 1 of 1 elements",
    WithoutExchange: "a WithoutExchange without exchange",
}


@pytest.mark.parametrize("kind", MUTANTS)
def test_communicators(kind: type[Member]) -> None:
    crowd = Crowd(3)
    ends = each(crowd, lambda member: check_communicator(kind(crowd, member.rank)))
    assert any(isinstance(end, AssertionError) and MUTANTS[kind] in str(end) for end in ends), ends


def test_a_rank_beyond_the_last() -> None:
    one = Crowd(1).member(1)
    with pytest.raises(AssertionError, match="communicator Member: rank 1 of 1"):
        check_communicator(one)
