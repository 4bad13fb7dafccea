"""The moving average of the parameters: its formula, its bits, and that it is what is measured, saved and used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm import checkpoint, kernels
from cllm.assemble import outline
from cllm.averaging import Averaging
from cllm.errors import CheckpointError, ConfigError
from cllm.state import first_non_finite
from cllm.tensorfile import read_tensors
from tests.runs import config, digest_of, finish, leave_half_way, train

AVERAGED = ("train.ema_decay=0.9",)


@pytest.mark.parametrize("n", [1, 15, 16, 33, 10_007])
def test_the_kernel_moves_the_mean_and_threads_change_no_bit(n: int) -> None:
    generator = np.random.default_rng(n)
    start, parameters = (generator.standard_normal(n).astype(np.float32) for _ in range(2))
    made = []
    for n_threads in (1, 2, 3):
        mean = start.copy()
        kernels.average(mean, parameters, 0.125, n_threads)
        made.append(mean.tobytes())
    assert len(set(made)) == 1
    np.testing.assert_allclose(mean, start + 0.125 * (parameters.astype(np.float64) - start), rtol=1e-6, atol=1e-7)
    kernels.average(mean, parameters, 1.0)
    np.testing.assert_allclose(mean, parameters, rtol=1e-6, atol=1e-7)
    parameters[n // 2] = np.nan
    kernels.average(mean, parameters, 0.5)
    assert first_non_finite(mean) == n // 2


class Adds:
    """An optimizer that adds 1."""

    learning_rate, bytes_per_parameter = 1.0, 0

    def init(self, parameters: Any) -> None: ...

    def step(self, parameters: Any, gradient: Any, **how: Any) -> None:
        parameters += 1.0

    def state_dict(self) -> dict[str, Any]:
        return {"own": 3.0}

    def load_state_dict(self, state: Any) -> None:
        assert dict(state) == {"own": 3.0}


class Table:
    size = 5


def test_early_updates_count_more() -> None:
    averaging, parameters, expected = Averaging(Adds(), 0.5), np.full(5, 7.0, np.float32), 7.0
    averaging.init([Table()])  # type: ignore[list-item]
    for n in range(20):
        averaging.step(parameters, parameters, learning_rate=1.0, gradient_scale=1.0, n_threads=1)
        decay = min(0.5, (1 + n) / (10 + n))
        expected += (1.0 - decay) * (7.0 + n + 1 - expected)
        np.testing.assert_allclose(averaging.average, expected, rtol=1e-6)
    other = Averaging(Adds(), 0.5)
    other.init([Table()])  # type: ignore[list-item]
    other.load_state_dict(averaging.state_dict())
    assert other.state_dict().keys() == averaging.state_dict().keys()
    assert (other.average == averaging.average).all()
    for broken in ({"average": None}, {"average": np.zeros(4, np.float32)}, {"averaged_updates": 1.5}):
        with pytest.raises(CheckpointError, match=r"\[train\] ema_decay"):
            other.load_state_dict({**averaging.state_dict(), **broken})


def test_a_run_learns_the_same_and_measures_saves_and_generates_by_the_average(tmp_path: Path) -> None:
    plain = train(config(tmp_path), tmp_path / "plain")
    averaged = train(config(tmp_path, *AVERAGED), tmp_path / "averaged")
    assert [r.loss for r in plain] == [r.loss for r in averaged]
    assert plain[-1].validation_loss != averaged[-1].validation_loss
    saved = checkpoint.load_newest(tmp_path / "averaged" / "checkpoints")
    assert saved is not None
    model = cllm.load(tmp_path / "averaged")
    assert (model.parameters == saved.snapshot.optimizer["average"]).all()
    assert (cllm.load(tmp_path / "plain").parameters != model.parameters).any()
    model.save(tmp_path / "model")
    tensors = read_tensors(tmp_path / "model" / "model.safetensors")
    assert all((tensors[name] == view).all() for name, view in model.decoding.views(model.parameters))
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json",
    }
    with pytest.raises(CheckpointError, match="there already"):
        model.save(tmp_path / "model")
    with cllm.Trainer(config(tmp_path), tmp_path / "next", init_from=tmp_path / "model") as trainer:
        assert (trainer.state.parameters == model.parameters).all()


def test_a_run_that_was_left_ends_with_the_same_average(tmp_path: Path) -> None:
    settings = config(tmp_path, *AVERAGED)
    train(settings, tmp_path / "whole")
    leave_half_way(settings, tmp_path / "left")
    finish(config(tmp_path, *AVERAGED, "train.threads=2"), tmp_path / "left")
    assert digest_of(tmp_path / "left") == digest_of(tmp_path / "whole")


def test_a_step_that_is_skipped_leaves_the_average(tmp_path: Path) -> None:
    settings = config(tmp_path, *AVERAGED, "checks.finite.action=skip", "train.inject_nan=4", "train.steps=6")
    kept: list[bytes] = []
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        for report in trainer:
            average = trainer.parts.measured.tobytes()
            assert (report.decision == "skip") == (average in kept)
            kept.append(average)
        assert trainer.state.course.counts["skip"] == 1


def test_resume_keeps_the_average_it_has(tmp_path: Path) -> None:
    leave_half_way(config(tmp_path, *AVERAGED), tmp_path / "run")
    with pytest.raises(ConfigError, match="ema_decay"):
        cllm.Trainer(config(tmp_path), resume=tmp_path / "run")


def test_memory_is_estimated_with_it(tmp_path: Path) -> None:
    made = []
    for overrides in ((), AVERAGED):
        with cllm.Trainer(config(tmp_path, *overrides), tmp_path / f"run-{len(overrides)}") as t:
            made.append(outline(t.config, t.parts.data, t.plugins).memory["optimizer"])
            n = t.state.parameters.size
    assert made[1] - made[0] == 4 * n
