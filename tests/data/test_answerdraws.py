"""Batches of answers alone: every counted target, and none else, against a slow computation from the definition."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data import answerdraws
from cllm.data.answerdraws import RandomAnswers, ShuffledAnswers
from cllm.data.batches import Batches, Sampling, evaluation_batches
from cllm.data.mixture import Mixture
from cllm.data.tokenfile import TokenFile
from cllm.errors import DataError
from tests.data.test_batches import BOTH, arrays, in_memory

N = 300


def with_answers(
    n_tokens: int, answers: Sequence[tuple[int, int]], starts: Sequence[int] = (0,), first: int = 0
) -> TokenFile:
    file = in_memory(n_tokens, starts, first=first)
    header = msgspec.structs.replace(file.header, n_answers=len(answers))
    spans = np.array(answers, np.int64).reshape(-1, 2)
    return TokenFile(Path("memory"), header, file.tokens, file.document_starts, spans)


def spans_of(bounds: list[int]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=False) if a < b]


ANSWERS = st.lists(st.integers(0, N), min_size=2, max_size=24).map(sorted).map(spans_of).filter(
    lambda spans: bool(spans) and spans[-1][1] > 1
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answerdraws, "_CHUNK", 3)


def counted_of(answers: list[tuple[int, int]]) -> set[int]:
    return {place for first, end in answers for place in range(first, end)}


@given(ANSWERS, st.sampled_from(BOTH), st.integers(0, 99), st.integers(1, 60), st.integers(0, 40))
@settings(deadline=None, max_examples=150)
def test_weights_are_1_where_the_target_is_an_answer(
    answers: list[tuple[int, int]], sampling: Sampling, seed: int, block_size: int, index: int
) -> None:
    batches = Batches(with_answers(N, answers), 5, block_size, seed, sampling, loss="answers")
    batch, counted = batches(index), counted_of(answers)
    assert (batch.inputs == batch.inputs[:, :1] + np.arange(block_size)).all() and batch.inputs.min() >= 0
    for row in range(5):
        wanted = [place + 1 in counted for place in batch.inputs[row].tolist()]
        assert batch.weights[row].tolist() == wanted and any(wanted)
        assert batch.targets[row].tolist() == [
            place + 1 if counts else -1 for place, counts in zip(batch.inputs[row].tolist(), wanted, strict=True)
        ]
    again = Batches(with_answers(N, answers), 5, block_size, seed, sampling, loss="answers")
    assert arrays(batch) == arrays(again(index))


@given(ANSWERS, st.integers(0, 99), st.integers(1, 60))
@settings(deadline=None, max_examples=60)
def test_an_epoch_has_each_window_with_an_answer_once(
    answers: list[tuple[int, int]], seed: int, block_size: int
) -> None:
    draws, counted, sample = ShuffledAnswers(with_answers(N, answers), block_size, seed), counted_of(answers), 0
    n = max(1, (N - block_size) // block_size)
    for epoch in range(4):
        phase = draws._phase(epoch)
        wanted = [
            start for start in range(phase, phase + n * block_size, block_size)
            if counted & set(range(start + 1, start + block_size + 1))
        ]
        assert sorted(draws(sample + place) for place in range(len(wanted))) == wanted
        sample += len(wanted)
        if not epoch:
            assert draws.n_per_epoch == max(1, len(wanted))


@given(ANSWERS, st.integers(1, 60))
@settings(deadline=None, max_examples=60)
def test_random_windows_are_all_that_have_an_answer(answers: list[tuple[int, int]], block_size: int) -> None:
    draws, counted = RandomAnswers(with_answers(N, answers), block_size, 1), counted_of(answers)
    wanted = [start for start in range(N - block_size) if counted & set(range(start + 1, start + block_size + 1))]
    found = [
        first + place
        for first, before, end in zip(
            draws._firsts.tolist(), draws._n_before.tolist(), [*draws._n_before.tolist()[1:], draws._n_starts],
            strict=True,
        )
        for place in range(end - before)
    ]
    assert found == wanted


def test_random_windows_are_equally_likely() -> None:
    draws = RandomAnswers(with_answers(N, [(20, 22), (25, 26), (200, 280)]), 10, 3)
    found = Counter(draws(sample) for sample in range(40_000))
    wanted = [*range(10, 25), *range(190, 279)]
    assert sorted(found) == wanted
    expected = 40_000 / len(wanted)
    chi_squared = sum((found[start] - expected) ** 2 / expected for start in wanted)
    assert chi_squared < 103 + 5 * (2 * 103) ** 0.5  # 5 deviations of the mean above it


@given(st.lists(st.tuples(ANSWERS, st.integers(N, N + 40)), min_size=1, max_size=3), st.integers(1, 70),
       st.integers(1, 7))
@settings(deadline=None, max_examples=60)
def test_evaluation_counts_every_answers_token_once(
    parts: list[tuple[list[tuple[int, int]], int]], block_size: int, batch_size: int
) -> None:
    files = [with_answers(n, answers, first=1000 * part) for part, (answers, n) in enumerate(parts)]
    source = files[0] if len(files) == 1 else Mixture.of(files, [1.0] * len(files))
    targets: list[int] = []
    for batch in evaluation_batches(source, block_size, batch_size, loss="answers"):
        counted = batch.targets >= 0
        assert (batch.weights == counted).all() and (batch.inputs[counted] + 1 == batch.targets[counted]).all()
        filled = batch.documents[:, 0] >= 0
        assert counted.any(axis=1)[filled].all() and not counted[~filled].any()
        targets += batch.targets[counted].tolist()
    wanted = [1000 * part + place for part, (answers, _) in enumerate(parts) for place in sorted(counted_of(answers))]
    assert targets == [target for target in wanted if target % 1000]


def test_every_part_must_have_answers() -> None:
    some, none = with_answers(N, [(5, 9)]), in_memory(N)
    for source in (none, Mixture.of([some, none], [1, 1]), with_answers(N, [(0, 1)])):
        for sampling in BOTH:
            with pytest.raises(DataError, match=r"has (no answers|an answer at its first).*loader squad.*loss = .all"):
                Batches(source, 4, 16, 1, sampling, loss="answers")
        with pytest.raises(DataError, match=r"has (no answers|an answer at its first)"):
            list(evaluation_batches(source, 16, 4, loss="answers"))


def test_golden_answers_stay() -> None:
    # numerics: another order of samples is another run
    file = with_answers(3000, [(place, place + 7) for place in range(40, 3000, 97)])
    mixture = Mixture.of([file, with_answers(500, [(300, 310)], first=10_000)], [2, 1])
    found = [
        Batches(source, 4, 16, 1337, sampling, loss="answers")(0).inputs[:, 0].tolist()
        for source in (file, mixture) for sampling in BOTH
    ]
    assert found == [
        [1191, 2567, 2263, 1287],
        [2065, 2945, 2461, 2748],
        [34, 10294, 1690, 432],
        [220, 10298, 2936, 1095],
    ]


def test_memory_is_that_of_one_epochs_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answerdraws, "_CHUNK", 1 << 12)
    file = with_answers(4_000_000, [(place, place + 3) for place in range(10, 4_000_000, 20)])
    tracemalloc.start()
    draws = ShuffledAnswers(file, 10, 1)
    firsts = {draws(sample) for sample in range(0, 450_000, 1000)}  # of three epochs
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(draws._ends) == 3 and len(firsts) > 400
    # Half of the 400,000 windows are counted: 4 bytes each, one for each while they are looked for; and the blocks.
    assert peak < 8 * draws._n_windows
