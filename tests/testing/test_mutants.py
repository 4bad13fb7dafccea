"""Parts that are wrong in one way each: cllm.testing finds each, and says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cllm import kernels
from cllm.abi import FoldReducer
from cllm.errors import DataError
from cllm.hooks import Abort, Clip, Document, GradientView, Ok, SkipStep, Verdict
from cllm.testing import check_dataset, check_import_budget, check_reducer, check_stability_check


def found(check: Callable[[], None], message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)):
        check()


# --- reducers ---------------------------------------------------------------------------------------------------


class Sum:
    """A reducer in which nothing is wrong; each of those below changes one thing."""

    kind = "gather"

    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        kernels.ordered_sum(out, gradients)


class Fold:
    kind = "fold"

    def merge(self, left: np.ndarray, right: np.ndarray) -> None:
        kernels.add(left, right)

    def finish(self, total: np.ndarray, n_shards: int) -> None:
        pass


class LosesNaN(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        kernels.ordered_sum(out, np.nan_to_num(gradients))


class LosesInfinity(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        kernels.ordered_sum(out, np.where(np.isinf(gradients), np.float32(0.0), gradients))


class SpreadsNaN(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        super().combine(gradients, weights, out)
        if not np.isfinite(out).all():
            out[...] = np.nan


class LooksBeyond(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        super().combine(gradients, weights, out)
        out *= np.float32(1.0 + 1e-6 * (float(np.abs(out).max()) > 1e3))


class Averages(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        super().combine(gradients, weights, out)
        out /= np.float32(weights[0])


class WritesToItsInput(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        super().combine(gradients, weights, out)
        gradients[0] = 0.0


class Counts(Sum):
    """Its calls decide."""

    def __init__(self) -> None:
        self._n = count()

    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        super().combine(gradients, weights, out)
        out += np.float32(next(self._n))


class AddsToOut(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        for row in gradients:
            out += row


class SpoilsRight(Fold):
    def merge(self, left: np.ndarray, right: np.ndarray) -> None:
        kernels.add(left, right)
        right[...] = 0.0


class Halves(Fold):
    def finish(self, total: np.ndarray, n_shards: int) -> None:
        total *= np.float32(0.5)


class NoFinish:
    kind = "fold"

    def merge(self, left: np.ndarray, right: np.ndarray) -> None: ...


class NoCapsule:
    kind = "fold"

    def __cllm_reducer__(self) -> object:
        return 7


class SumOfThree(Sum):
    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        if len(gradients) < 3:
            raise ValueError("three, please")
        super().combine(gradients, weights, out)


REDUCERS: dict[str, tuple[Any, str]] = {
    "a NaN becomes 0": (LosesNaN(), "nan in element 0 of shard 0 is lost"),
    "an infinity becomes 0": (LosesInfinity(), "inf in element 0 of shard 0 is lost"),
    "a NaN spoils all": (SpreadsNaN(), "spoils others"),
    "an element depends on others": (LooksBeyond(), "it looks beyond an element"),
    "the mean instead of the sum": (Averages(), "one shard is changed"),
    "IN is written to": (WritesToItsInput(), "which are IN"),
    "it remembers": (Counts(), "other bits"),
    "OUT is added to": (AddsToOut(), "other bits"),
    "right is written to": (SpoilsRight(), "merge writes to right"),
    "finish changes one shard": (Halves(), "one shard is changed"),
    "no finish": (NoFinish(), "without finish"),
    "no capsule": (NoCapsule(), "a capsule named"),
    "no function": (FoldReducer(0), "neither merge nor combine"),
}


@pytest.mark.parametrize(("reducer", "message"), REDUCERS.values(), ids=REDUCERS)
def test_reducers(reducer: Any, message: str) -> None:
    found(lambda: check_reducer(reducer), message)


def test_what_they_change_is_sound() -> None:
    check_reducer(Sum())
    check_reducer(Fold())  # type: ignore[arg-type]


def test_too_few_shards() -> None:
    found(lambda: check_reducer(SumOfThree(), least_shards=3), "raises ValueError('three, please')")
    found(lambda: check_reducer(Sum(), least_shards=3), "2 shards are too few, and it does not say so")


# --- checks -----------------------------------------------------------------------------------------------------


class Limit:
    """A check in which nothing is wrong: the loss may not rise above twice the least that there was."""

    def __init__(self) -> None:
        self.least = 100.0

    def after_reduction(self, view: GradientView) -> Verdict:
        if not view.loss <= 2.0 * self.least:
            return Abort(f"loss {view.loss}")
        self.least = min(self.least, view.loss)
        return Ok()

    def state_dict(self) -> dict[str, Any]:
        return {"least": self.least}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.least = state["least"]


class LetsNaNPass(Limit):
    def after_reduction(self, view: GradientView) -> Verdict:
        if view.loss > 2.0 * self.least:
            return Abort("above")
        self.least = min(self.least, view.loss)
        return Ok()


class ClipsByNaN(Limit):
    def after_reduction(self, view: GradientView) -> Verdict:
        verdict = super().after_reduction(view)
        return verdict if view.gradient_norm <= 2.0 else Clip(2.0 / view.gradient_norm)


class IsDeafAfterNaN(Limit):
    def after_reduction(self, view: GradientView) -> Verdict:
        rises = view.loss > 2.0 * self.least or view.loss != view.loss
        self.least = 0.9 * min(self.least, 9.0) + 0.1 * view.loss
        return SkipStep("above") if rises else Ok()


class ForgetsAtResume(Limit):
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class HasNoState:
    def __init__(self) -> None:
        self.n = 0

    def after_reduction(self, view: GradientView) -> Verdict:
        self.n += 1
        return Abort("fifty") if self.n == 150 else Ok()


class KeepsItsRecord(Limit):
    """Given back what it knew, it does not forget what came since."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.least = min(self.least, state["least"])

    def after_reduction(self, view: GradientView) -> Verdict:
        verdict = super().after_reduction(view)
        if view.loss == 9.0:
            self.least = 1e-3
        return verdict


class NoJson(Limit):
    def state_dict(self) -> dict[str, Any]:
        return {"least": {self.least}}


SHARED = count()


class AsksAround(Limit):
    """What another object of its class has seen decides."""

    def after_reduction(self, view: GradientView) -> Verdict:
        return Abort("many") if next(SHARED) > 200 else super().after_reduction(view)


class NoVerdict(Limit):
    def after_reduction(self, view: GradientView) -> Any:
        return "fine"


class Raises(Limit):
    def after_reduction(self, view: GradientView) -> Verdict:
        return Ok() if int(view.loss) < 20 else Abort("above")


CHECKS: dict[str, tuple[Callable[[], Any], str]] = {
    "a comparison lets NaN pass": (LetsNaNPass, "nothing against a step that is NaN throughout"),
    "it clips by NaN": (ClipsByNaN, "a factor lies in 0 < factor <= 1, not nan"),
    "a NaN stays in its memory": (IsDeafAfterNaN, "it no longer objects to what should alarm"),
    "its state is not loaded": (ForgetsAtResume, "its state_dict does not have all that decides"),
    "it has no state": (HasNoState, "it remembers, and has no state"),
    "it does not forget": (KeepsItsRecord, "has not forgotten what came since"),
    "its state is a set": (NoJson, "no plain JSON"),
    "a counter is shared": (AsksAround, "it is not pure"),
    "it answers text": (NoVerdict, "which is no verdict"),
    "it raises at NaN": (Raises, "cannot convert float NaN to integer"),
    "it has no phase": (object, "without any of its methods"),
}


@pytest.mark.parametrize(("make", "message"), CHECKS.values(), ids=CHECKS)
def test_checks(make: Callable[[], Any], message: str) -> None:
    alarm = None if make in (HasNoState, AsksAround) else lambda step: replace(step, loss=40.0)
    found(lambda: check_stability_check(make, alarm, leaves_nonfinite=make is HasNoState), message)


def test_the_check_that_they_change_is_sound() -> None:
    check_stability_check(Limit, lambda step: replace(step, loss=40.0))


def test_an_alarm_that_is_none() -> None:
    found(lambda: check_stability_check(Limit, lambda step: step), "nothing against the step that should alarm")


# --- datasets ---------------------------------------------------------------------------------------------------


class Words:
    """A dataset in which nothing is wrong."""

    words = ("red", "green", "blue", "white", "black", "grey")

    def documents(self) -> Iterator[Document]:
        for word in self.words:
            yield Document(word, word)


class Once(Words):
    def __init__(self) -> None:
        self._left = super().documents()

    def documents(self) -> Iterator[Document]:
        return self._left


class Shuffled(Words):
    calls = count()

    def documents(self) -> Iterator[Document]:
        return iter(list(super().documents())[:: 1 if next(self.calls) % 2 else -1])


class GoesOnWhereItWas(Words):
    def __init__(self) -> None:
        self._at = 0

    def documents(self) -> Iterator[Document]:
        while self._at < len(self.words):
            self._at += 1
            yield Document(self.words[self._at - 1], "a word")
        self._at = 0


class Strings(Words):
    def documents(self) -> Iterator[Any]:
        return iter(self.words)


class WrongOffset(Words):
    def documents(self) -> Iterator[Document]:
        yield Document("red", "it")
        yield Document("der", "it", offset=2, continues=True)


class Surrogate(Words):
    def documents(self) -> Iterator[Document]:
        yield Document("red", "it")
        yield Document("\ud800", "it")


class WrongAnswers(Words):
    def documents(self) -> Iterator[Document]:
        yield Document("red", "it", answers=[(1, 3)])
        yield Document("red", "it", answers=[(2, 9)])


class Alone(Words):
    words = ("red",)


DATASETS: dict[str, tuple[Callable[[], Any], str]] = {
    "it can be read once": (Once, "the second reading has other documents"),
    "in another order": (Shuffled, "has other documents"),
    "it goes on where it was": (GoesOnWhereItWas, "a reading depends on one that has broken off"),
    "text alone": (Strings, "is a str, not a cllm.hooks.Document"),
    "a wrong offset": (WrongOffset, "document 1 has offset 2 where the pieces before it have 3 characters"),
    "half a surrogate pair": (Surrogate, "document 1: half a surrogate pair"),
    "answers beyond the text": (WrongAnswers, "document 1: answers [(2, 9)]"),
    "one document": (Alone, "give it input with two or more"),
    "no documents": (object, "without documents"),
}


@pytest.mark.parametrize(("make", "message"), DATASETS.values(), ids=DATASETS)
def test_datasets(make: Callable[[], Any], message: str) -> None:
    found(lambda: check_dataset(make), message)


class Refuses(Words):
    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def documents(self) -> Iterator[Document]:
        yield Document("red", "it")
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, "broken: is read as if it were sound"),
        (ValueError("no"), "broken: ValueError: no; raise cllm.errors.DataError"),
        (DataError("it", "a stone", "bread", ""), "broken: its error says nothing of todo"),
    ],
)
def test_bad_input(error: Exception | None, message: str) -> None:
    found(lambda: check_dataset(Words, {"broken": lambda: Refuses(error)}), message)
    check_dataset(Words, {"broken": lambda: Refuses(DataError("it", "a stone", "bread", "ask again"))})


# --- imports ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import numpy", "mutant imports numpy"),
        ("import time; time.sleep(0.2)", "ms to import, more than 100"),
        ("import time; time.sleep(9)", "is not imported after 2 s"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_imports(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mutant.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    seconds = 2.0 if "sleep(9)" in source else 60.0
    found(lambda: check_import_budget("mutant", seconds=seconds), message)
