"""Every task is a model that cllm builds, and a folder has what both sides are to start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.model import flops_of, prepare, program_of
from benchmarks.peers import PEERS
from benchmarks.task import N_BATCHES, TASKS, read, windows


@pytest.mark.parametrize("name", TASKS)
def test_every_task_builds_for_every_peer(name: str) -> None:
    task = TASKS[name]
    for peer in PEERS.values():
        program = program_of(peer.variant(task))
        assert program.block_size == task.block_size
    assert flops_of(task) > 0.0


def test_gpt2_has_its_124_million_parameters() -> None:
    vectors_and_biases = 12 * (4 + 9) * 768 + 2 * 768
    positions_left_out = (1024 - 64) * 768
    task = PEERS["llmc"].variant(TASKS["L64"])
    assert program_of(task).n_parameters + positions_left_out == 124_439_808
    assert program_of(TASKS["L64"]).n_parameters == program_of(task).n_parameters - vectors_and_biases + 25 * 768


def test_a_folder_gives_back_what_was_put_in_it(tmp_path: Path) -> None:
    task = TASKS["XS"]
    prepare(tmp_path / "task", task)
    again, weights, tokens = read(tmp_path / "task")
    assert again == task
    assert {name: x.shape for name, x in weights.items()} == {p.name: p.shape for p in program_of(task).parameters}
    assert tokens.shape == (N_BATCHES * task.n_tokens + 1,)
    assert int(tokens.min()) >= 0 and int(tokens.max()) < task.vocab_size


def test_batches_follow_each_other_in_the_stream() -> None:
    task = TASKS["XS"]
    stream = np.arange(N_BATCHES * task.n_tokens + 1, dtype=np.int32)
    batches = windows(task, stream)
    assert batches.shape == (N_BATCHES, task.batch_size, task.block_size + 1)
    assert np.array_equal(batches[:, :, :-1].ravel(), stream[:-1])
    assert np.array_equal(batches[:, :, 1:].ravel(), stream[1:])
