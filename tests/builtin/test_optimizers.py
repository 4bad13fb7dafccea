"""AdamW, Lion and SGD: against their definitions in float64, on any number of threads, and with odd values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cllm.builtin.optimizers import SGD, AdamW, AdamWConfig, Lion, LionConfig, SGDConfig
from cllm.errors import CheckpointError
from cllm.program import Parameter

Float32, Float64 = NDArray[np.float32], NDArray[np.float64]
Treatment = tuple[Float64, Float64]  # of each element: whether weight decay applies, and the learning rate's scale

TABLE = (  # of odd sizes; the last is frozen, and has neither gradient nor moments
    Parameter("matrix", (7, 13), 0, decay=True),
    Parameter("vector", (5,), 91),
    Parameter("slow", (11, 3), 96, decay=True, learning_rate_scale=0.25),
    Parameter("one", (1,), 129),
    Parameter("frozen", (3, 3), 130, decay=True, trainable=False),
)
N_TRAINABLE, N = 130, 139
SMALLEST = 2.0**-100  # of a moment: numerics rule 7
RATES = ((1e-2, 1.0), (7e-3, 0.3), (0.5, 1e-3), (1e-4, 1.0), (3e-2, 2.0))  # learning rate and gradient scale, by step


def adamw(config: AdamWConfig, gradients: list[Float64], p: Float64, treatment: Treatment) -> Float64:
    """Loshchilov and Hutter 2019, algorithm 2."""
    (beta1, beta2), (decays, scale) = config.betas, treatment
    m = v = np.zeros_like(p)
    for t, (g, (rate, gradient_scale)) in enumerate(zip(gradients, RATES, strict=True), start=1):
        g = g * gradient_scale
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + config.epsilon)
        p = p - rate * scale * (step + config.weight_decay * decays * p)
    return p


def lion(config: LionConfig, gradients: list[Float64], p: Float64, treatment: Treatment) -> Float64:
    """Chen et al. 2023, algorithm 2."""
    (beta1, beta2), (decays, scale) = config.betas, treatment
    m = np.zeros_like(p)
    for g, (rate, gradient_scale) in zip(gradients, RATES, strict=True):
        g = g * gradient_scale
        p = p - rate * scale * (np.sign(beta1 * m + (1 - beta1) * g) + config.weight_decay * decays * p)
        m = beta2 * m + (1 - beta2) * g
    return p


def sgd(config: SGDConfig, gradients: list[Float64], p: Float64, treatment: Treatment) -> Float64:
    decays, scale = treatment
    velocity = np.zeros_like(p)
    for g, (rate, gradient_scale) in zip(gradients, RATES, strict=True):
        velocity = config.momentum * velocity + g * gradient_scale + config.weight_decay * decays * p
        p = p - rate * scale * velocity
    return p


@dataclass(frozen=True)
class Case:
    name: str
    kind: type[AdamW] | type[Lion] | type[SGD]
    config: Any
    definition: Callable[..., Float64]

    def make(self) -> Any:
        optimizer = self.kind(self.config)
        optimizer.init(TABLE)
        return optimizer


CASES = [
    Case("adamw", AdamW, AdamWConfig(), adamw),
    Case("adamw_no_decay", AdamW, AdamWConfig(weight_decay=0.0, betas=(0.5, 0.999), epsilon=1e-3), adamw),
    Case("adamw_no_memory", AdamW, AdamWConfig(betas=(0.0, 0.0), weight_decay=1.0), adamw),
    Case("lion", Lion, LionConfig(), lion),
    Case("lion_no_decay", Lion, LionConfig(weight_decay=0.0, betas=(0.5, 0.9)), lion),
    Case("sgd", SGD, SGDConfig(), sgd),
    Case("sgd_decay", SGD, SGDConfig(weight_decay=0.1), sgd),
    Case("sgd_momentum", SGD, SGDConfig(momentum=0.9), sgd),
    Case("sgd_momentum_decay", SGD, SGDConfig(momentum=0.5, weight_decay=0.3), sgd),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def start() -> Float32:
    return np.random.default_rng(1).standard_normal(N).astype(np.float32)


def gradients() -> list[Float32]:
    generator = np.random.default_rng(2)
    return [generator.standard_normal(N_TRAINABLE).astype(np.float32) for _ in RATES]


def make_steps(optimizer: Any, parameters: Float32, n_threads: int = 1, first: int = 0, last: int = len(RATES)) -> None:
    for gradient, (rate, scale) in list(zip(gradients(), RATES, strict=True))[first:last]:
        step(optimizer, parameters, gradient, n_threads, rate, scale)


def step(
    optimizer: Any, parameters: Float32, gradient: Float32, n_threads: int = 1, rate: float = 0.1, scale: float = 1.0
) -> None:
    optimizer.step(parameters, gradient, learning_rate=rate, gradient_scale=scale, n_threads=n_threads)


def treatment() -> Treatment:
    trained = [p for p in TABLE if p.trainable]
    decays = np.concatenate([np.full(p.size, float(p.decay)) for p in trained])
    return decays, np.concatenate([np.full(p.size, p.learning_rate_scale) for p in trained])


@every_case
def test_steps_agree_with_the_definition(case: Case) -> None:
    parameters = start()
    make_steps(case.make(), parameters)
    exact = [g.astype(np.float64) for g in gradients()]
    expected = case.definition(case.config, exact, start()[:N_TRAINABLE].astype(np.float64), treatment())
    np.testing.assert_allclose(parameters[:N_TRAINABLE], expected, rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(parameters[N_TRAINABLE:], start()[N_TRAINABLE:])


@every_case
def test_the_bytes_that_it_announces_are_those_that_it_takes(case: Case) -> None:
    optimizer = case.make()
    taken = sum(value.nbytes for value in optimizer.state_dict().values() if isinstance(value, np.ndarray))
    assert taken == case.kind(case.config).bytes_per_parameter * N_TRAINABLE


@every_case
@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_threads_change_no_bit(case: Case, n_threads: int) -> None:
    alone, together = start(), start()
    make_steps(case.make(), alone)
    make_steps(case.make(), together, n_threads)
    assert alone.tobytes() == together.tobytes()


@every_case
def test_weight_decay_is_of_matrices_only(case: Case) -> None:
    """With a gradient of 0 nothing else moves."""
    parameters, decays = start(), treatment()[0] * case.config.weight_decay
    step(case.make(), parameters, np.zeros(N_TRAINABLE, dtype=np.float32))
    moved = parameters[:N_TRAINABLE] != start()[:N_TRAINABLE]
    np.testing.assert_array_equal(moved, decays > 0.0)


@every_case
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_nonfinite_element_of_the_gradient_spoils_its_parameter_alone(case: Case, poison: float) -> None:
    for element in range(N_TRAINABLE):
        parameters, gradient = start(), gradients()[0]
        gradient[element] = poison
        step(case.make(), parameters, gradient)
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(parameters)), [element])


@every_case
def test_state_goes_on_where_it_was(case: Case) -> None:
    whole, halves, other = start(), start(), case.make()
    make_steps(case.make(), whole)
    first = case.make()
    make_steps(first, halves, last=2)
    other.load_state_dict({k: v.copy() if isinstance(v, np.ndarray) else v for k, v in first.state_dict().items()})
    make_steps(other, halves, first=2)
    assert whole.tobytes() == halves.tobytes()


@every_case
def test_a_state_of_something_else_is_refused(case: Case) -> None:
    for name, value in case.make().state_dict().items():
        for wrong in ("nothing", value[1:] if isinstance(value, np.ndarray) else 1):
            optimizer = case.make()
            with pytest.raises(CheckpointError, match=name):
                optimizer.load_state_dict({**optimizer.state_dict(), name: wrong})


NO_MEMORY, MOMENTUM = AdamWConfig(betas=(0.0, 0.0)), SGDConfig(momentum=0.9)
FLUSHED = [  # the moment, a gradient, what the moment becomes in the first step
    (AdamW(NO_MEMORY), "first_moment", -SMALLEST, -SMALLEST),
    (AdamW(NO_MEMORY), "first_moment", float(np.nextafter(np.float32(SMALLEST), np.float32(0))), 0.0),
    (AdamW(NO_MEMORY), "first_moment", -SMALLEST / 2, 0.0),
    (AdamW(NO_MEMORY), "first_moment", np.nan, np.nan),
    (AdamW(NO_MEMORY), "second_moment", 2.0**-50, SMALLEST),
    (AdamW(NO_MEMORY), "second_moment", -(2.0**-51), 0.0),
    (SGD(MOMENTUM), "velocity", -SMALLEST, -SMALLEST),
    (SGD(MOMENTUM), "velocity", -SMALLEST / 2, 0.0),
    (SGD(MOMENTUM), "velocity", np.nan, np.nan),
]


@pytest.mark.parametrize(("optimizer", "name", "gradient", "moment"), FLUSHED)
def test_a_moment_below_two_to_the_minus_100_is_plus_zero(
    optimizer: Any, name: str, gradient: float, moment: float
) -> None:
    optimizer.init(TABLE)
    step(optimizer, start(), np.full(N_TRAINABLE, gradient, dtype=np.float32))
    found = optimizer.state_dict()[name]
    np.testing.assert_array_equal(found, np.full(N_TRAINABLE, moment, dtype=np.float32))
    assert moment != 0.0 or not np.signbit(found).any()
