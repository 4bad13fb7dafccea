"""A batch is a pure function of (seed, index), has the tokens of the file, and evaluation counts each token once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data.batches import Batch, Batches, Sampling, evaluation_batches
from cllm.data.mixture import Mixture
from cllm.data.tokenfile import Header, TokenFile
from cllm.errors import DataError, TokenFileError

BOTH: tuple[Sampling, ...] = ("shuffle", "random")


def in_memory(n_tokens: int, starts: Sequence[int] = (0,), vocab_size: int = 1 << 20, first: int = 0) -> TokenFile:
    """A file whose token i is first + i, so that a token says where it stood."""
    tokens = np.arange(first, first + n_tokens, dtype=np.uint32)
    header = Header(1, "u4", n_tokens, len(starts), vocab_size, "", "", "")
    return TokenFile(Path("memory"), header, tokens, np.array(starts, np.int64))


def arrays(batch: Batch) -> list[Any]:
    return [batch.inputs.tolist(), batch.targets.tolist(), batch.weights.tolist(), batch.documents.tolist()]


FILE = in_memory(3000, [0, 100, 101, 2000])
MIXTURE = Mixture.of([FILE, in_memory(500, [0, 30], first=10_000)], [2, 1])


@given(
    source=st.sampled_from([FILE, MIXTURE]),
    sampling=st.sampled_from(BOTH),
    seed=st.integers(0, 2**32 - 1),
    indices=st.lists(st.integers(0, 10**9), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=60)
def test_batches_do_not_depend_on_those_before(
    source: TokenFile | Mixture, sampling: Sampling, seed: int, indices: list[int]
) -> None:
    one = Batches(source, 4, 16, seed, sampling)
    asked = [arrays(one(index)) for index in indices]
    assert asked == [arrays(Batches(source, 4, 16, seed, sampling)(index)) for index in indices]
    assert asked[0] == arrays(one(indices[0]))


@given(
    sampling=st.sampled_from(BOTH),
    seed=st.integers(0, 2**32 - 1),
    batch_size=st.integers(1, 9),
    block_size=st.integers(1, 200),
    index=st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=60)
def test_batch_has_the_files_tokens_and_documents(
    sampling: Sampling, seed: int, batch_size: int, block_size: int, index: int
) -> None:
    batch = Batches(FILE, batch_size, block_size, seed, sampling)(index)
    for array, dtype in zip((batch.inputs, batch.targets, batch.weights, batch.documents), "iifi", strict=True):
        assert array.shape == (batch_size, block_size) and array.dtype == np.dtype(f"{dtype}4")
    assert batch.index == index
    assert (batch.inputs == batch.inputs[:, :1] + np.arange(block_size)).all()
    assert (batch.targets == batch.inputs + 1).all() and batch.targets.max() < 3000
    assert (batch.weights == 1).all()
    assert (batch.documents == np.digitize(batch.inputs, [100, 101, 2000])).all()


def test_seeds_and_samplings_make_other_batches() -> None:
    made = [Batches(FILE, 4, 16, seed, sampling)(0).inputs.tolist() for seed in (1, 2) for sampling in BOTH]
    assert all(made.count(one) == 1 for one in made)


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_an_epoch_of_batches_reads_every_window_once(batch_size: int) -> None:
    batches = Batches(FILE, batch_size, 16, seed=5)
    rows = [row[0] for index in range(3 * batches.batches_per_epoch) for row in batches(index).inputs.tolist()]
    n = batches.windows_per_epoch
    assert n == (3000 - 16) // 16
    for epoch in range(2):
        first = sorted(rows[epoch * n : (epoch + 1) * n])
        assert first == list(range(first[0], first[0] + n * 16, 16))


def test_golden_batch_stays() -> None:
    # numerics: another order of samples is another run
    assert Batches(FILE, 4, 16, 1337)(0).inputs[:, 0].tolist() == [1623, 1959, 487, 1815]
    assert Batches(FILE, 4, 16, 1337, "random")(0).inputs[:, 0].tolist() == [390, 473, 2608, 1880]
    assert Batches(MIXTURE, 4, 16, 1337)(0).inputs[:, 0].tolist() == [2450, 10014, 743, 2376]


def test_too_few_tokens_are_refused() -> None:
    for sampling in BOTH:
        with pytest.raises(DataError, match="at least 17 tokens"):
            Batches(in_memory(16), 4, 16, 1, sampling)


def test_tokens_beyond_the_vocabulary_never_leave() -> None:
    altered = in_memory(100, vocab_size=99)
    with pytest.raises(TokenFileError, match="token 99 with a vocabulary of 99"):
        for index in range(100):
            Batches(altered, 4, 16, 1)(index)
    with pytest.raises(TokenFileError, match="token 99"):
        list(evaluation_batches(altered, 16, 4))


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    block_size=st.integers(1, 70),
    batch_size=st.integers(1, 7),
)
@settings(deadline=None)
def test_evaluation_counts_every_token_but_the_first_once(sizes: list[int], block_size: int, batch_size: int) -> None:
    files = [in_memory(size, first=1000 * part) for part, size in enumerate(sizes)]
    source = files[0] if len(files) == 1 else Mixture.of(files, [1.0] * len(files))
    targets: list[int] = []
    for number, batch in enumerate(evaluation_batches(source, block_size, batch_size)):
        assert batch.index == number and batch.inputs.shape == (batch_size, block_size)
        counted = batch.targets >= 0
        assert (batch.weights == counted).all()
        assert (batch.inputs[counted] + 1 == batch.targets[counted]).all()
        assert (batch.documents[counted] == batch.inputs[counted] // 1000).all()
        assert (batch.inputs[~counted] == 0).all() and (batch.documents[~counted] == -1).all()
        targets += batch.targets[counted].tolist()
    assert targets == [1000 * part + place for part, size in enumerate(sizes) for place in range(1, size)]


def test_limited_evaluation_is_spread_over_the_whole_part() -> None:
    everything = list(evaluation_batches(FILE, 16, 4))
    assert len(everything) == 47
    some = [batch.inputs[0, 0] for batch in evaluation_batches(FILE, 16, 4, limit=5)]
    assert some == [everything[place].inputs[0, 0] for place in (0, 9, 18, 28, 37)]
    for limit in (None, 0, 47, 1000):
        assert [arrays(b) for b in evaluation_batches(FILE, 16, 4, limit)] == [arrays(b) for b in everything]


def test_a_batch_is_quick() -> None:
    # 30-70 us where this was written; ten times that is a mistake on any machine.
    batches = Batches(in_memory(1_000_000), 12, 64, 1337)
    batches(0)
    best = min(_seconds(batches, first) for first in range(0, 500, 100))
    assert best / 100 < 1e-3


def _seconds(batches: Batches, first: int) -> float:
    start = time.perf_counter()
    for index in range(first, first + 100):
        batches(index)
    return time.perf_counter() - start
