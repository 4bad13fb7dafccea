"""The estimates against naive loops and, to the bit, against NumPy; NaN travels, and slices change no bit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import cllm
import numpy as np
import pytest
from cllm.abi import as_python
from cllm.errors import KernelError
from reference import network, robust_sum

from cllm_robust.reducers import Median, TrimmedMean, TrimmedMeanConfig


def trimmed(trim: int) -> TrimmedMean:
    return TrimmedMean(TrimmedMeanConfig(trim=trim))


def naive_median(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def naive_trimmed_mean(trim: int) -> Callable[[list[float]], float]:
    def mean(values: list[float]) -> float:
        kept = sorted(values)[trim : len(values) - trim]
        return sum(kept) / len(kept)

    return mean


# name -> (reducer, its definition on one element of all shards, least number of shards)
REDUCERS: dict[str, tuple[Any, Callable[[list[float]], float], int]] = {
    "median": (Median(), naive_median, 1),
    "trim 1": (trimmed(1), naive_trimmed_mean(1), 3),
    "trim 2": (trimmed(2), naive_trimmed_mean(2), 5),
}
CASES = [(name, s) for name, (_, _, least) in REDUCERS.items() for s in (1, 2, 3, 4, 5, 8, 13, 32) if s >= least]

everywhere = pytest.mark.parametrize(("name", "n_shards"), CASES)


def shards(n_shards: int, n: int = 211) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(n_shards)
    weights = random.integers(1, 900, n_shards) * 0.5
    gradients = random.normal(size=(n_shards, n)) * weights[:, None]
    gradients[:, ::7] = np.round(gradients[:, ::7] / 300)  # ties, and zeros of both signs
    return gradients.astype(np.float32), weights


def combined(reducer: Any, gradients: np.ndarray, weights: np.ndarray) -> np.ndarray:
    out = np.full(gradients.shape[1], np.nan, dtype=np.float32)  # OUT: whatever was there must not show
    as_python(reducer).combine(gradients, weights, out)
    return out


def bits(array: np.ndarray) -> list[int]:
    return [int(one) for one in np.ascontiguousarray(array).view(np.uint32).ravel()]


@everywhere
def test_definition(name: str, n_shards: int) -> None:
    reducer, definition, _ = REDUCERS[name]
    gradients, weights = shards(n_shards)
    came = combined(reducer, gradients, weights)
    expected = [
        float(weights.sum()) * definition([float(g) / float(w) for g, w in zip(column, weights, strict=True)])
        for column in gradients.T
    ]
    scale = np.abs(gradients).max() * n_shards  # elements of both signs cancel: measure against what went in
    assert np.abs(came - expected).max() <= 1e-6 * scale
    assert np.linalg.norm(came - expected) <= 1e-6 * np.linalg.norm(expected)


@everywhere
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_in_any_shard_reaches_the_result(name: str, n_shards: int, value: float) -> None:
    reducer = REDUCERS[name][0]
    gradients, weights = shards(n_shards, n=67)
    clean = combined(reducer, gradients, weights)
    for shard in range(n_shards):
        for element in (0, 33, 66):  # also the last lanes of a vector
            spoilt = gradients.copy()
            spoilt[shard, element] = value
            came = combined(reducer, spoilt, weights)
            assert np.isnan(came[element])
            others = np.arange(67) != element
            assert bits(came[others]) == bits(clean[others])


def test_a_nan_of_a_shard_without_weight_reaches_the_result() -> None:
    gradients, weights = shards(4)
    weights[2] = 0.0
    gradients[2] = 0.0
    gradients[2, 5] = np.nan
    assert np.isnan(combined(Median(), gradients, weights)).nonzero()[0].tolist() == [5]


def test_a_nan_weight_reaches_the_result() -> None:
    gradients, weights = shards(4)
    weights[1] = np.nan
    assert np.isnan(combined(trimmed(1), gradients, weights)).all()


def test_an_overflowing_mean_is_no_outlier_to_be_trimmed() -> None:
    gradients, weights = np.ones((5, 3), dtype=np.float32), np.ones(5)
    gradients[0, 1], weights[0] = 3e38, 0.1
    assert np.isnan(combined(trimmed(1), gradients, weights)).tolist() == [False, True, False]


@everywhere
def test_slices_change_no_bit(name: str, n_shards: int) -> None:
    reducer = REDUCERS[name][0]
    gradients, weights = shards(n_shards)
    whole = combined(reducer, gradients, weights)
    for cuts in ([1], [2, 3, 5, 7, 100], [16, 64, 65], list(range(1, 211))):
        edges = [0, *cuts, 211]
        out = np.empty_like(whole)
        for lo, hi in pairwise(edges):
            as_python(reducer).combine(np.ascontiguousarray(gradients[:, lo:hi]), weights, out[lo:hi])
        assert bits(out) == bits(whole)


@everywhere
def test_inputs_are_left_alone(name: str, n_shards: int) -> None:
    gradients, weights = shards(n_shards)
    before = gradients.copy(), weights.copy()
    combined(REDUCERS[name][0], gradients, weights)
    assert bits(gradients) == bits(before[0])
    assert weights.tolist() == before[1].tolist()


@everywhere
def test_zeros_have_one_sign_whatever_the_order_of_shards(name: str, n_shards: int) -> None:
    gradients = np.zeros((n_shards, 40), dtype=np.float32)
    gradients[: n_shards // 2] = -0.0
    for rows in (gradients, gradients[::-1]):
        assert set(bits(combined(REDUCERS[name][0], rows, np.ones(n_shards)))) == {0}


@pytest.mark.parametrize("name", REDUCERS)
def test_shards_that_agree_give_the_plain_sum(name: str) -> None:
    weights = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    mean = np.linspace(-3, 3, 50, dtype=np.float32)
    gradients = (mean * weights[:, None]).astype(np.float32)
    assert np.allclose(combined(REDUCERS[name][0], gradients, weights), 63.0 * mean, rtol=1e-6)


@pytest.mark.parametrize(("name", "n_wrong"), [("median", 3), ("trim 1", 1), ("trim 2", 2)])
def test_wrong_shards_cannot_push_the_result_beyond_the_right_ones(name: str, n_wrong: int) -> None:
    gradients, weights = shards(8)
    means = gradients[n_wrong:] / weights[n_wrong:, None]
    gradients[:n_wrong] = 1e30
    estimate = combined(REDUCERS[name][0], gradients, weights) / weights.sum()
    assert (estimate >= means.min(axis=0) - 1e-5).all()
    assert (estimate <= means.max(axis=0) + 1e-5).all()
    assert np.abs(gradients.sum(axis=0) / weights.sum()).min() > 1e20  # what the plain sum would have made of it


@pytest.mark.parametrize("n_shards", [3, 4])
def test_of_three_or_four_shards_trimming_one_is_the_median(n_shards: int) -> None:
    gradients, weights = shards(n_shards)
    assert bits(combined(Median(), gradients, weights)) == bits(combined(trimmed(1), gradients, weights))


def test_a_shard_without_counted_tokens_is_no_vote() -> None:
    gradients, weights = shards(5)
    weights[3], gradients[3] = 0.0, 0.0
    others = [0, 1, 2, 4]
    for reducer in (Median(), trimmed(1)):
        came = combined(reducer, gradients, weights)
        assert bits(came) == bits(combined(reducer, gradients[others], weights[others]))


def test_without_any_counted_token_the_sum_is_zero() -> None:
    for reducer in (Median(), trimmed(3)):
        assert set(bits(combined(reducer, np.zeros((4, 9), dtype=np.float32), np.zeros(4)))) == {0}


@pytest.mark.parametrize(("trim", "n_shards"), [(1, 1), (1, 2), (2, 4), (3, 6), (9, 8)])
def test_a_trim_that_leaves_nothing_is_refused(trim: int, n_shards: int) -> None:
    gradients, weights = shards(n_shards)
    with pytest.raises(KernelError, match=r"more than 2 \* trim; lower \[reducer\] trim, raise \[train\] batch_size"):
        combined(trimmed(trim), gradients, weights)


@everywhere
@pytest.mark.parametrize("n", [1, 31, 512, 513, 2000])
def test_numpy_gives_the_same_bits(name: str, n_shards: int, n: int) -> None:
    reducer = REDUCERS[name][0]
    gradients, weights = shards(n_shards, n)
    weights[n_shards // 2] *= n_shards < 3 or n % 2  # one that has no vote
    trim = (int(np.count_nonzero(weights)) - 1) // 2 if name == "median" else int(name[-1])
    if np.count_nonzero(weights) > 2 * trim:
        expected = np.empty(n, dtype=np.float32)
        robust_sum(gradients, weights, expected, trim)
        assert bits(combined(reducer, gradients, weights)) == bits(expected)


@pytest.mark.parametrize(
    ("copy", "original"),
    [
        ("include/cllm/kernel_abi.h", Path(cllm.get_include(), "cllm", "kernel_abi.h")),
        ("src/cllm_robust/abi.pxd", Path(cllm.get_include()).parent / "_kernels" / "abi.pxd"),
    ],
)
def test_the_copies_of_the_abi_are_those_of_the_cllm_that_is_tested_with(copy: str, original: Path) -> None:
    assert (Path(__file__).parent.parent / copy).read_text() == original.read_text()


@pytest.mark.parametrize("n", range(1, 13))
def test_the_network_sorts_every_row_of_zeros_and_ones(n: int) -> None:
    # A network that sorts these sorts everything (Knuth, 5.3.4, the zero-one principle).
    values = np.array(list(product([0, 1], repeat=n))).T.copy()
    for low, high in network(n):
        assert low < high < n
        values[[low, high]] = np.sort(values[[low, high]], axis=0)
    assert (np.diff(values, axis=0) >= 0).all()
