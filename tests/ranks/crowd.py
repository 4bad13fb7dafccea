"""Ranks that are threads of one process: a communicator for tests, in which a call that hangs fails after a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cllm
from cllm.hooks.manager import build_manager
from cllm.outcomes import ENDINGS
from cllm.ranks import Ranks, join

PATIENCE = 60.0  # seconds


class Aborted(Exception):
    """What a launcher would have ended."""


class Crowd:
    """What the ranks of a run have in common."""

    def __init__(self, size: int, fast: bool = False) -> None:
        self.size, self.fast = size, fast
        self.board: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=PATIENCE)
        self.aborts: list[str] = []

    def member(self, rank: int) -> Member:
        return Member(self, rank)


class Member:
    """One rank's communicator. Whoever reads the board does so between two barriers."""

    def __init__(self, crowd: Crowd, rank: int) -> None:
        self._crowd, self.rank, self.size, self.fast = crowd, rank, crowd.size, crowd.fast
        self.n_bytes = 0  # sent to others

    def tell(self, words: bytes) -> list[bytes]:
        return self._shown(words, list)

    def exchange(self, sent: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> None:
        def take(board: list[Any]) -> None:
            for one, there in zip(board, received, strict=True):
                assert one[self.rank].shape == there.shape
                there[:] = one[self.rank]

        self.n_bytes += sum(one.nbytes for rank, one in enumerate(sent) if rank != self.rank)
        self._shown(sent, take)

    def gather(self, whole: np.ndarray, bounds: Sequence[int]) -> None:
        def take(board: list[Any]) -> None:
            for rank, one in enumerate(board):
                if rank != self.rank:
                    whole[bounds[rank] : bounds[rank + 1]] = one[bounds[rank] : bounds[rank + 1]]

        self._shown(whole.copy(), take)

    def add_up(self, total: np.ndarray) -> None:
        def take(board: list[Any]) -> None:
            total[:] = board[0]
            for one in board[1:]:
                total[:] += one

        self._shown(total.copy(), take)

    def abort(self, message: str) -> None:
        self._crowd.aborts.append(message)
        self._crowd.barrier.abort()
        raise Aborted(message)

    def _shown(self, thing: Any, look: Callable[[list[Any]], Any]) -> Any:
        self._crowd.board[self.rank] = thing
        self._crowd.barrier.wait()
        seen = look(self._crowd.board)
        self._crowd.barrier.wait()
        return seen


def each(crowd: Crowd, work: Callable[[Member], Any]) -> list[Any]:
    """What `work` returns or raises on each rank, by rank."""
    found: list[Any] = [None] * crowd.size

    def run(rank: int) -> None:
        try:
            found[rank] = work(crowd.member(rank))
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(crowd.size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    return found


def each_rank(n_ranks: int, work: Callable[[Ranks], Any], fast: bool = False) -> list[Any]:
    """The same with Ranks; nothing may be raised."""
    found = each(Crowd(n_ranks, fast), lambda member: work(join(member, ENDINGS)))
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found


def trainer(member: Member, settings: Any, out: Path | None, **options: Any) -> cllm.Trainer:
    """A Trainer that is this rank."""
    plugins = build_manager(installed=False)
    plugins.make_communicator = lambda config: member  # type: ignore[method-assign]
    return cllm.Trainer(settings, out, plugins=plugins, **options)


def train(n_ranks: int, settings: Any, out: Path | None, fast: bool = False, **options: Any) -> list[Any]:
    """The reports of each rank, or what it raised."""

    def run(member: Member) -> list[Any]:
        with trainer(member, settings, out, **options) as made:
            return list(made)

    return each(Crowd(n_ranks, fast), run)
