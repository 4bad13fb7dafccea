"""What ranks say to each other: where each is and what it has seen, so that all go on alike or all end.

Every rank comes to the same words in the same order. A rank that cannot go on says so in place of its next word, so
none waits for it in vain; one whose process is gone is the launcher's to notice, which ends the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cllm.errors import CllmError, InstabilityAbort, RankError
from cllm.share import Share

if TYPE_CHECKING:
    from cllm.hooks.protocols import Communicator

T = TypeVar("T")
FAILED = "failed"
# What a run ends in on all ranks alike, or nobody need know of yet: who has left alone is missed at the next word.
ALIKE = (RankError, InstabilityAbort, KeyboardInterrupt, SystemExit, GeneratorExit)


class Word(msgspec.Struct, frozen=True, array_like=True):
    """What a rank says."""

    about: str  # what all are at, such as "gradient"; or how its rank ends
    seen: str  # what it has noted since its last word: the same on all ranks
    numbers: list[float]  # its own
    text: str = ""  # its own
    exit_code: int = 0


class RankFailed(Exception):
    """Another rank cannot go on; this one's last finished state is as good as ever."""

    def __init__(self, rank: int, why: str, exit_code: int) -> None:
        super().__init__(f"rank {rank} ended: {why}")
        self.exit_code = exit_code


class Ranks:
    """The ranks of a run, seen from one of them. With a single one nothing is said."""

    def __init__(self, communicator: Communicator, share: Share, endings: Mapping[str, type[BaseException]]) -> None:
        """endings: by names, exceptions that all raise where one does, with the text that it was raised with."""
        self.communicator, self.share = communicator, share
        self._endings, self._seen, self._is_over = endings, list[str](), False

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which alone writes and prints."""
        return self.share.rank == 0

    @property
    def n_ranks(self) -> int:
        """How many there are, this one included."""
        return self.share.n_ranks

    @property
    def are_fast(self) -> bool:
        """Whether they add up gradients in an order that no one process has: then bits depend on their number."""
        return self.n_ranks > 1 and self.communicator.fast

    def note(self, seen: Callable[[], str]) -> None:
        """What this rank has come to; the next word takes it along, and it must be what all others have come to."""
        if self.n_ranks > 1:  # or nobody asks
            self._seen.append(seen())

    def agree(self, about: str, numbers: Sequence[float] = (), text: str = "") -> list[Word]:
        """Each rank's word, by rank. RankError where they differ; RankFailed or an ending where one has ended."""
        own = Word(about, "; ".join(self._seen), list(numbers), text)
        self._seen.clear()
        if self.n_ranks == 1:
            return [own]
        if self._is_over:
            raise RankError("ranks", f"{about!r} after they have parted", "nothing more to do together", "begin anew")
        return self._heard(own)

    def together(self, about: str, work: Callable[[], Sequence[float]]) -> list[Word]:
        """Do `work` on every rank and hear the numbers of all; what it raises on one ends all."""
        try:
            numbers = work()
        except BaseException as error:
            self.fail(error)
            raise
        return self.agree(about, numbers)

    def from_first(self, about: str, work: Callable[[], str]) -> str:
        """What `work` gives on rank 0, on every rank; the others do not do it, and wait."""
        said = ""

        def of_first() -> Sequence[float]:
            nonlocal said
            if self.leads:
                said = work()
            return ()

        self.together(about, of_first)
        return self.agree(about, text=said)[0].text

    def divided(
        self, about: str, things: Iterable[T], work: Callable[[T], Sequence[float]], n_each: int
    ) -> Iterator[list[float]]:
        """The n_each numbers of every thing, in the order of things; each rank works on its share of them."""

        def own() -> Sequence[float]:
            mine = islice(things, self.share.rank, None, self.n_ranks)
            return [number for thing in mine for number in work(thing)]

        words = self.together(about, own)
        for turn in range(0, max(len(word.numbers) for word in words), n_each):
            yield from (word.numbers[turn : turn + n_each] for word in words if len(word.numbers) > turn)

    def fail(self, error: BaseException, alike: tuple[type[BaseException], ...] = ALIKE) -> None:
        """Tell the others that this rank goes no further, in place of its next word; nothing if they know already.

        alike: what they meet by themselves. Raises what another rank has ended in, where that comes first.
        """
        if self.n_ranks == 1 or self._is_over or isinstance(error, (*alike, RankFailed)):
            return
        self._seen.clear()
        name = next((name for name, kind in self._endings.items() if isinstance(error, kind)), FAILED)
        code = error.exit_code if isinstance(error, CllmError) else 1
        said = str(error) if isinstance(error, CllmError) else f"{type(error).__name__}: {error}"
        self._heard(Word(name, "", [], said if name == FAILED else str(error), code), error)

    def leave(self) -> None:
        """The last word: nobody has gone before the others were through. Raises as `agree` does."""
        if self.n_ranks > 1 and not self._is_over:
            self.agree("the end")
            self._is_over = True

    @contextmanager
    def unbreakable(self) -> Iterator[None]:
        """While inside, others wait for what only this rank has: whatever goes wrong ends all of them at once."""
        try:
            yield
        except BaseException as error:
            self.communicator.abort(f"rank {self.share.rank}: {type(error).__name__}: {error}")
            raise

    def _heard(self, own: Word, error: BaseException | None = None) -> list[Word]:
        """Everybody's word; raises where one has ended, but not for the `error` that this rank is about to raise."""
        with self.unbreakable():
            packed = self.communicator.tell(msgspec.msgpack.encode(own))
            words = [msgspec.msgpack.decode(one, type=Word) for one in packed]
        failed = [rank for rank, word in enumerate(words) if word.about == FAILED]
        ended = [rank for rank, word in enumerate(words) if word.about in self._endings]
        if failed or ended:
            self._is_over = bool(failed)
            first = (failed or ended)[0]
            if error is not None and first == self.share.rank:
                return words
            word = words[first]
            if failed:
                raise RankFailed(first, word.text, word.exit_code) from error
            raise self._endings[word.about](f"{word.text} (rank {first})") from error
        if len({(word.about, word.seen) for word in words}) > 1:
            self._is_over = True
            raise self._disagreement(words)
        return words

    def _disagreement(self, words: Sequence[Word]) -> RankError:
        by_word: dict[str, list[int]] = {}
        for rank, word in enumerate(words):
            by_word.setdefault(f"at {word.about!r} after {word.seen or 'nothing new'}", []).append(rank)
        few_first = sorted(by_word.items(), key=lambda pair: (len(pair[1]), -pair[1][0]))
        came = "; ".join(f"{_named(ranks)} {text}" for text, ranks in few_first)
        error = RankError(
            "ranks", came, "the same from every rank, for all compute the same",
            "look at memory, cllm and data of the machine that differs, and go on from the newest checkpoint with "
            "--resume",
        )
        error.is_echo = not self.leads
        return error


def _named(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
