"""Schedules: their shape at the places that matter, and their bits."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cllm.builtin.schedules import (
    WSD,
    Constant,
    ConstantConfig,
    Cosine,
    CosineConfig,
    Linear,
    LinearConfig,
    WSDConfig,
)
from cllm.errors import ConfigError


def cosine(warmup_steps: int = 0, decay_steps: int = 100, minimum_ratio: float = 0.1) -> Cosine:
    return Cosine(CosineConfig(warmup_steps=warmup_steps, decay_steps=decay_steps, minimum_ratio=minimum_ratio))


def test_constant_is_one_after_its_warmup() -> None:
    assert [Constant(ConstantConfig())(step) for step in (0, 1, 10**9)] == [1.0, 1.0, 1.0]
    schedule = Constant(ConstantConfig(warmup_steps=3))
    assert [schedule(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 1 / 11), (9, 10 / 11), (10, 1.0), (60, 0.55), (110, 0.1), (111, 0.1), (10**9, 0.1)],
)
def test_cosine_rises_falls_and_stays(step: int, factor: float) -> None:
    assert cosine(warmup_steps=10, decay_steps=110)(step) == pytest.approx(factor, abs=1e-15)


def test_cosine_is_the_formula_between() -> None:
    schedule = cosine(warmup_steps=7, decay_steps=207, minimum_ratio=0.25)
    for step in range(7, 207):
        expected = 0.25 + 0.75 * 0.5 * (1.0 + math.cos(math.pi * (step - 7) / 200))
        assert schedule(step) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("minimum_ratio", [0.0, 0.1, 1.0])
def test_cosine_never_rises_nor_leaves_its_bounds(minimum_ratio: float) -> None:
    schedule = cosine(decay_steps=997, minimum_ratio=minimum_ratio)
    factors = [schedule(step) for step in range(1000)]
    assert factors == sorted(factors, reverse=True)
    assert (factors[0], factors[-1]) == (1.0, minimum_ratio)
    assert all(minimum_ratio <= factor <= 1.0 for factor in factors)


def test_cosine_gives_these_bits_on_every_machine() -> None:
    schedule = cosine(warmup_steps=10, decay_steps=2000)
    assert {step: schedule(step).hex() for step in BITS} == BITS


# Equal under portable, v3 and v4; only a new numerics version may change them.
BITS = {
    4: "0x1.d1745d1745d17p-2",
    11: "0x1.ffffed2f1e93dp-1",
    500: "0x1.be6f56226f0e2p-1",
    1005: "0x1.199999999999ap-1",
    1999: "0x1.999a3020a4fb4p-4",
}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CosineConfig(), "no decay_steps"),
        (CosineConfig(decay_steps=10, warmup_steps=10), "warmup_steps = 10 of decay_steps = 10"),
    ],
)
def test_a_course_without_length_is_refused(config: CosineConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cosine(config)


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 1 / 11), (10, 1.0), (60, 0.55), (109, 0.109), (110, 0.1), (10**9, 0.1)],
)
def test_linear_rises_falls_and_stays(step: int, factor: float) -> None:
    schedule = Linear(LinearConfig(warmup_steps=10, decay_steps=110, minimum_ratio=0.1))
    assert schedule(step) == pytest.approx(factor, abs=1e-15)


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.2), (4, 1.0), (79, 1.0), (80, 1.0), (90, 0.5), (99, 0.05), (100, 0.0), (10**9, 0.0)],
)
def test_wsd_is_one_until_its_last_fifth(step: int, factor: float) -> None:
    assert WSD(WSDConfig(warmup_steps=4, decay_steps=100))(step) == pytest.approx(factor, abs=1e-15)


def test_wsd_falls_as_late_as_asked() -> None:
    schedule = WSD(WSDConfig(decay_steps=100, cooldown_steps=1, minimum_ratio=0.25))
    assert [schedule(step) for step in (98, 99, 100)] == [1.0, 1.0, 0.25]
    short = WSD(WSDConfig(warmup_steps=9, decay_steps=10))  # a fifth would begin before the warm-up has ended
    assert [short(step) for step in (0, 8, 9, 10)] == [0.1, 0.9, 1.0, 0.0]


@pytest.mark.parametrize("make", [lambda **n: Linear(LinearConfig(**n)), lambda **n: WSD(WSDConfig(**n))])
def test_a_length_is_needed(make: Any) -> None:
    with pytest.raises(ConfigError, match="no decay_steps"):
        make()
    with pytest.raises(ConfigError, match="fewer steps of warm-up"):
        make(warmup_steps=10, decay_steps=10)


def test_wsd_does_not_fall_while_it_rises() -> None:
    with pytest.raises(ConfigError, match="warmup_steps = 60 and cooldown_steps = 50 of 100; expected no more"):
        WSD(WSDConfig(warmup_steps=60, decay_steps=100, cooldown_steps=50))
