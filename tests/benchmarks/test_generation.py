"""Generation: the run that both sides read, cllm's side, and what counts as the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cllm
from benchmarks.cllm_generate import CllmGenerate
from benchmarks.generated import N_PROMPT, Generated, block_of, generated, run_of
from benchmarks.generation import Line, difference, make_run, shown
from benchmarks.task import Task, read

TASK = Task(vocab_size=65, block_size=32, n_layer=1, n_head=2, n_embd=16, batch_size=1)


def call(tokens: list[int], logits: list[float]) -> Generated:
    return generated(tokens, [0.0, 1.0, 1.5, 2.0], 2.5, logits)


def test_a_run_has_the_weights_that_lie_beside_it(tmp_path: Path) -> None:
    make_run(tmp_path, TASK)
    model = cllm.load(run_of(tmp_path))
    task, weights, _ = read(tmp_path)
    assert task == TASK and model.config.model.vocab_size in (None, TASK.vocab_size)
    assert model.tokenizer is not None and model.tokenizer.vocab_size == TASK.vocab_size
    for name, value in model.decoding.views(model.parameters):
        assert np.array_equal(weights[name], value), name


def test_cllm_fills_the_block_and_tells_logits_once(tmp_path: Path) -> None:
    make_run(tmp_path, TASK)
    side = CllmGenerate(tmp_path)
    first, second = side(0), side(1)
    assert len(first["tokens"]) == TASK.block_size - N_PROMPT
    assert first["tokens"] == second["tokens"]
    assert len(first["logits"]) == TASK.block_size and second["logits"] == []
    assert 0.0 < first["first"] < first["whole"]
    assert len(block_of(TASK)) == TASK.block_size


def test_times_of_a_call() -> None:
    found = call([1, 2, 3], [])
    assert (found["first"], found["each"], found["whole"]) == (1.0, 0.5, 2.5)


def test_logits_and_tokens_are_to_be_the_same() -> None:
    ours = call([1, 2], [0.5, -0.25])
    assert difference(ours, call([1, 2], [0.50001, -0.25])) is None
    assert "token 1 of a block" in (difference(ours, call([1, 2], [0.5, -0.2501])) or "")
    assert "token 1 is 2 and 3" in (difference(ours, call([1, 3], [0.5, -0.25])) or "")


@pytest.mark.parametrize("quiet", [True, False])
def test_a_line_says_how_fast_and_how_near_to_memory(quiet: bool) -> None:
    ours = Line("S", 1, "cllm", "cllm 1", 1000.0, 0.001, 0.007, 900.0, 1100.0, 3e9, 1.4e10, None, quiet)
    theirs = Line("S", 1, "eager", "PyTorch", 250.0, 0.004, 0.007, 200.0, 300.0, 1e9, 1.4e10, None, quiet)
    assert "1,000.0 tokens/s (900.0 to 1,100.0)" in shown(ours, ours) and "times" not in shown(ours, ours)
    assert "cllm is 4.00 times as fast" in shown(theirs, ours)
    assert ("NOISY" in shown(ours, ours)) is not quiet
