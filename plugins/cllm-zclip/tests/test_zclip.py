"""The rule against its definition in plain sums, and the properties for which it was chosen."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from cllm.errors import CheckpointError
from cllm.hooks import Clip, GradientView, Ok

from cllm_zclip.check import ZClip, ZClipConfig


def view(norm: float) -> GradientView:
    return GradientView(0, 0, 1.0, norm, math.isfinite(norm), 0.1, (1.0,), 1.0, lambda name: norm)


def factors(check: ZClip, norms: list[float]) -> list[float]:
    verdicts = [check.after_reduction(view(norm)) for norm in norms]
    assert all(isinstance(one, Ok | Clip) for one in verdicts)
    return [one.factor if isinstance(one, Clip) else 1.0 for one in verdicts]


def defined(norms: list[float], alpha: float, threshold: float, warmup: int) -> list[float]:
    """The clipped norms: averages as sums over all that came before, nothing carried from step to step."""
    kept = list(norms[:warmup])
    for norm in norms[warmup:]:
        mean = statistics.fmean(kept[:warmup])
        variance = statistics.pvariance(kept[:warmup])
        for value in kept[warmup:]:
            mean += (1 - alpha) * (value - mean)
            variance += (1 - alpha) * ((value - mean) ** 2 - variance)
        deviation = math.sqrt(variance)
        z = (norm - mean) / (deviation + 1e-6)
        kept.append(norm if z <= threshold else mean + threshold**2 / z * deviation)
    return kept


def some_norms(seed: int, n: int = 120) -> list[float]:
    chance = random.Random(seed)
    norms = [1.0 + 0.2 * chance.random() + 3.0 / (1 + step) for step in range(n)]
    for step in chance.sample(range(30, n), 6):
        norms[step] *= chance.choice((3.0, 30.0, 1e6))
    return norms


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("options", [{}, {"alpha": 0.9, "z_threshold": 4.0, "warmup": 10}])
def test_it_is_the_rule(seed: int, options: dict[str, Any]) -> None:
    config, norms = ZClipConfig(**options), some_norms(seed)
    found = factors(ZClip(config), norms)
    wanted = defined(norms, config.alpha, config.z_threshold, config.warmup)
    assert [norm * factor for norm, factor in zip(norms, found, strict=True)] == pytest.approx(wanted, rel=1e-9)
    assert 6 <= sum(factor < 1.0 for factor in found) < 30


WARM = [1.0, 1.2] * 13  # mean 1.1, deviation 0.1, or nearly so


def test_the_farther_out_the_less_is_left() -> None:
    left = [norm * factors(ZClip(ZClipConfig()), [*WARM, norm])[-1] for norm in (1.36, 2.0, 10.0, 1e9)]
    assert left == sorted(left, reverse=True) and left[0] < 1.36
    assert left[-1] == pytest.approx(1.1, rel=1e-2)
    assert factors(ZClip(ZClipConfig()), [*WARM, 1.3])[-1] == 1.0


def test_spikes_do_not_make_the_next_ones_pass() -> None:
    assert max(factors(ZClip(ZClipConfig()), [*WARM, *[1e6] * 50])[len(WARM) :]) < 1e-5


def test_small_norms_and_the_warm_up_are_left_alone() -> None:
    assert set(factors(ZClip(ZClipConfig()), [1e6, *WARM[:24], 1e-9, 0.0])) == {1.0}


def test_a_new_level_is_followed_where_it_comes_slowly() -> None:
    norms = [*WARM, *[1.1 * 1.01**step for step in range(300)]]
    assert min(factors(ZClip(ZClipConfig()), norms)) > 0.9


def test_what_is_not_finite_leaves_no_trace() -> None:
    seen, unseen = ZClip(ZClipConfig()), ZClip(ZClipConfig())
    odd = [*WARM[:5], math.nan, math.inf, *WARM[5:], math.inf, 5.0, math.nan, 1.2]
    assert set(factors(seen, [math.nan, math.inf])) == {1.0}
    found = factors(seen, odd)
    assert [f for f, norm in zip(found, odd, strict=True) if math.isfinite(norm)] == factors(
        unseen, [norm for norm in odd if math.isfinite(norm)]
    )
    assert seen.state_dict() == unseen.state_dict()


def test_norms_of_zero_and_equal_ones() -> None:
    assert set(factors(ZClip(ZClipConfig()), [0.0] * 30 + [1.0])) == {1.0}
    assert factors(ZClip(ZClipConfig()), [1.0] * 30 + [1.1])[-1] == pytest.approx(1 / 1.1)


@pytest.mark.parametrize("cut", [0, 7, 25, 60])
def test_it_goes_on_where_it_was_saved(cut: int) -> None:
    norms = some_norms(3)
    whole, first, second = (ZClip(ZClipConfig()) for _ in "abc")
    factors(first, norms[:cut])
    second.load_state_dict(first.state_dict())
    assert factors(second, norms[cut:]) == factors(whole, norms)[cut:]
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize("state", [
    {}, {"first": [], "moments": [1.0]}, {"first": ["1"], "moments": []}, {"first": [], "moments": [1.0, math.nan]},
    {"first": [], "moments": [1.0, -1.0]}, {"first": [], "moments": [], "more": []}, {"first": [True], "moments": []},
])
def test_another_state_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="a mean and a variance or neither"):
        ZClip(ZClipConfig()).load_state_dict(state)
