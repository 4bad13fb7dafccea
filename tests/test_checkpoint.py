"""Checkpoints: whole or not there when they are saved, every byte as it was when they are loaded."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cllm import checkpoint, generations
from cllm.checkpoint import load, load_newest, load_weights, restore, save, verify
from cllm.digest import file_digest
from cllm.errors import CheckpointError
from tests.saving import FACTS, TABLE, Adam, Parameter, Spike, moved, new_state, state_at
from tests.test_atomic import failing

ALL_FILES = (*checkpoint.FILES, *FACTS.tokenizer_files, "state.json")


def saved(folder: Path, *steps: int) -> Path:
    """Save the states of `steps` and return the path of the last."""
    for step in steps:
        path = save(folder, state_at(step), FACTS, keep=9)
    return path


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def make_folder_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "a flipped bit": flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "foreign json": lambda path: path.write_text('{"step": 1}'),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": make_folder_of,
}


def test_a_state_saved_and_loaded_is_the_same_state(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    assert path == tmp_path / "step-00000003"
    assert sorted(os.listdir(path)) == sorted(ALL_FILES)
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.path, found.warnings, found.facts) == (path, (), FACTS)
    assert found.digest == state_at(3).digest()
    state = new_state()
    restore(state, found)
    assert state.digest() == found.digest
    assert (state.step, state.batch_index, state.skipped) == (3, 5, [1, 3])
    spike = state.checks["spike"]
    assert isinstance(spike, Spike)
    assert (spike.window, spike.smallest) == ([1.0, 3 / 7], float("inf"))


def test_a_restored_state_can_go_on_in_place(tmp_path: Path) -> None:
    state = new_state()
    restore(state, load(saved(tmp_path, 3)))
    assert isinstance(state.optimizer, Adam)
    state.optimizer.first += 1  # fails where the arrays are read-only


def test_the_files_are_what_transformers_reads(tmp_path: Path) -> None:
    path = saved(tmp_path, 3)
    tensors = load_file(path / "model.safetensors")
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "transformer.wte.weight": (5, 4),
        "transformer.wpe.weight": (3, 4),
        "transformer.ln_f.bias": (4,),
    }
    assert json.loads((path / "config.json").read_text())["model_type"] == "gpt2"
    assert {name: (path / name).read_bytes() for name in FACTS.tokenizer_files} == FACTS.tokenizer_files


def test_a_tokenizer_that_nobody_knows_has_no_file(tmp_path: Path) -> None:
    facts = replace(FACTS, tokenizer_files={})
    path = save(tmp_path, state_at(1), facts)
    assert sorted(os.listdir(path)) == sorted((*checkpoint.FILES, "state.json"))
    assert load(path).facts == facts


def test_the_same_state_makes_the_same_bytes_wherever_it_lies_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    saved(tmp_path / "a", 3)
    shifted = state_at(3, moved(TABLE, 16), 80)
    save(tmp_path / "b", shifted, FACTS)
    first, second = content(tmp_path / "a"), content(tmp_path / "b")
    model = "step-00000003/model.safetensors"
    assert first[model] == second[model]
    shutil.rmtree(tmp_path / "b" / "step-00000003")
    saved(tmp_path / "b", 3)
    assert content(tmp_path / "b") == first


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ALL_FILES)
def test_a_damaged_file_is_named_and_the_older_generation_is_taken(tmp_path: Path, name: str, damage: str) -> None:
    path = saved(tmp_path, 1, 2)
    DAMAGES[damage](path / name)
    with pytest.raises(CheckpointError) as problem:
        load(path)
    assert str(path / name) in str(problem.value)
    found = load_newest(tmp_path)
    assert found is not None
    assert found.digest == state_at(1).digest()
    [warning] = found.warnings
    assert "checkpoint step-00000002 is passed over" in warning
    assert name in warning


def test_every_generation_that_is_passed_over_is_told(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3)
    flip(tmp_path / "step-00000003" / "model.safetensors")
    shutil.rmtree(tmp_path / "step-00000002")
    (tmp_path / "step-00000002").mkdir()
    found = load_newest(tmp_path)
    assert found is not None
    assert found.snapshot.step == 1
    assert [warning.split()[1] for warning in found.warnings] == ["step-00000003", "step-00000002"]


def test_a_folder_that_cannot_be_read_is_not_one_without_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoints").mkdir()
    saved(tmp_path / "checkpoints", 1)

    def refuse(folder: Path) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    told = r"checkpoints: Permission denied; expected permission to read"
    with pytest.raises(CheckpointError, match=told):
        load_newest(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match=told):
        load_weights(tmp_path, [])


def test_a_run_is_not_silently_begun_anew_where_no_checkpoint_verifies(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    for step in (1, 2):
        flip(tmp_path / f"step-0000000{step}" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"none in .* verifies: .*step-00000002 .*step-00000001"):
        load_newest(tmp_path)


@pytest.mark.parametrize("there", [False, True])
def test_no_checkpoint_is_none(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "checkpoints").mkdir()
    assert load_newest(tmp_path / "checkpoints") is None


def test_files_of_two_generations_do_not_mix(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    shutil.copy(tmp_path / "step-00000001" / "optimizer.safetensors", tmp_path / "step-00000002")
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors has been altered"):
        load(tmp_path / "step-00000002")


def test_a_generation_under_another_steps_name_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, 1).rename(tmp_path / "step-00000009")
    with pytest.raises(CheckpointError, match="step-00000009 holds step 1"):
        load(tmp_path / "step-00000009")


def test_a_checkpoint_may_be_copied_out_under_any_other_name(tmp_path: Path) -> None:
    shutil.copytree(saved(tmp_path, 1), tmp_path / "best")
    assert load(tmp_path / "best").digest == state_at(1).digest()


def test_three_generations_stay(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, state_at(step), FACTS)
    assert sorted(os.listdir(tmp_path)) == ["step-00000003", "step-00000004", "step-00000005"]


def test_the_best_stays_with_keep_best(tmp_path: Path) -> None:
    for step, loss in enumerate((3.0, 2.0, 1.5, 2.5, None, 2.25), 1):
        save(tmp_path, state_at(step), FACTS, validation_loss=loss, keep=2, keep_best=True)
    assert sorted(os.listdir(tmp_path)) == ["step-00000003", "step-00000005", "step-00000006"]
    assert load(tmp_path / "step-00000003").validation_loss == 1.5


def test_generations_that_do_not_verify_take_no_place_from_those_that_do(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3)
    for step in (2, 3):
        flip(tmp_path / f"step-0000000{step}" / "model.safetensors")
    save(tmp_path, state_at(4), FACTS, keep=2)
    sound = [path.name for path in generations.generations(tmp_path) if is_sound(path)]
    assert sound == ["step-00000004", "step-00000001"]


def is_sound(path: Path) -> bool:
    try:
        verify(path)
    except CheckpointError:
        return False
    return True


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["parameters", "moments"])
def test_a_state_that_is_not_finite_is_never_saved(tmp_path: Path, where: str, value: float) -> None:
    saved(tmp_path, 1, 2, 3)
    before, state = content(tmp_path), state_at(4)
    assert isinstance(state.optimizer, Adam)
    (state.parameters if where == "parameters" else state.optimizer.second)[50] = value
    with pytest.raises(CheckpointError, match="is not finite at element"):
        save(tmp_path, state, FACTS)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space left on device; expected a disk with room; free some space"),
        (errno.EIO, "Input/output error; .*check the disk"),
        (errno.EROFS, "Read-only file system; .*write to another folder"),
        (errno.EACCES, "Permission denied; .*write to another folder"),
    ],
)
@pytest.mark.parametrize(
    ("call", "number"),
    [("mkdir", 1), ("open", 3), ("write", 1), ("write", 5), ("fsync", 1), ("fsync", 4), ("rename", 1)],
)
def test_a_disk_that_refuses_leaves_the_older_generations_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: int, words: str
) -> None:
    saved(tmp_path, 1, 2, 3)
    before = content(tmp_path)
    monkeypatch.setattr(os, call, failing(getattr(os, call), number, code))
    with pytest.raises(CheckpointError, match=f"^checkpoint: cannot use {tmp_path}.*: {words}"):
        save(tmp_path, state_at(4), FACTS, keep=1)
    monkeypatch.undo()
    assert content(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["step-00000001", "step-00000002", "step-00000003"]


@pytest.mark.parametrize("number", range(1, 11))
def test_a_write_that_is_short_and_lies_is_noticed_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    saved(tmp_path, 1)
    before, write, calls = content(tmp_path), os.write, [0]

    def lying(descriptor: int, data: memoryview) -> int:
        calls[0] += 1
        if calls[0] == number and len(data):
            write(descriptor, data[:-1])
            return len(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", lying)
    with pytest.raises(CheckpointError, match="what was read back is not what was written"):
        save(tmp_path, state_at(2), FACTS, keep=1)
    assert calls[0] >= number
    assert content(tmp_path) == before
    assert os.listdir(tmp_path) == ["step-00000001"]


@pytest.mark.parametrize("name", ALL_FILES)
def test_what_rots_after_its_own_check_is_noticed_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    saved(tmp_path, 1)
    before, look = content(tmp_path), checkpoint.verify

    def rotting(path: Path) -> object:
        if path.name.startswith(".tmp-"):
            flip(path / name)
        return look(path)

    monkeypatch.setattr(checkpoint, "verify", rotting)
    with pytest.raises(CheckpointError, match=name):
        save(tmp_path, state_at(2), FACTS, keep=1)
    assert content(tmp_path) == before


def test_an_interrupted_save_leaves_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    saved(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, state_at(2), FACTS)
    assert os.listdir(tmp_path) == ["step-00000001"]


def test_a_broken_generation_is_replaced_by_the_run_that_passes_it_again(tmp_path: Path) -> None:
    path = saved(tmp_path, 1, 2)
    flip(path / "model.safetensors")
    assert saved(tmp_path, 2) == path
    assert load(path).digest == state_at(2).digest()
    assert sorted(os.listdir(tmp_path)) == ["step-00000001", "step-00000002"]


def test_a_state_that_stands_there_already_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, 2)
    monkeypatch.setattr(os, "write", failing(os.write, 1, errno.ENOSPC))
    assert save(tmp_path, state_at(2), FACTS) == path


def test_a_check_that_remembers_what_json_cannot_hold_is_named(tmp_path: Path) -> None:
    state = state_at(1)
    spike = state.checks["spike"]
    assert isinstance(spike, Spike)
    spike.window = np.ones(3)  # type: ignore[assignment]
    with pytest.raises(CheckpointError, match=r"checks\.spike\.window is a ndarray"):
        save(tmp_path, state, FACTS)
    assert os.listdir(tmp_path) == []


def test_an_optimizer_that_does_not_take_its_state_back_is_noticed(tmp_path: Path) -> None:
    class Forgetful(Adam):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            super().load_state_dict({**state, "updates": 0})

    state = new_state()
    state.optimizer = Forgetful(state.parameters.size)
    with pytest.raises(CheckpointError, match="gives a state with digest"):
        restore(state, load(saved(tmp_path, 3)))


def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    table = (Parameter("transformer.wte.weight", (6, 4), 0), *TABLE[1:])
    with pytest.raises(CheckpointError, match=r"wte\.weight is float32 \[5, 4\], in this model float32 \[6, 4\]"):
        restore(new_state(table), load(saved(tmp_path, 3)))


def test_saving_copies_no_tensor(tmp_path: Path) -> None:
    n_elements = 1 << 22
    state = new_state((Parameter("transformer.wte.weight", (n_elements,), 0),), n_elements)
    tracemalloc.start()
    try:
        save(tmp_path, state, FACTS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < state.parameters.nbytes / 2


def run_folder(tmp_path: Path) -> Path:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    saved(tmp_path / "run" / "checkpoints", 1, 2)
    return tmp_path / "run"


@pytest.mark.parametrize(
    "path",
    ["run", "run/checkpoints/step-00000002", "run/checkpoints/step-00000002/model.safetensors", "transformers"],
)
def test_weights_alone_are_loaded_from_what_holds_them(tmp_path: Path, path: str) -> None:
    run = run_folder(tmp_path)
    (tmp_path / "transformers").mkdir()
    tensors = load_file(run / "checkpoints" / "step-00000002" / "model.safetensors")
    tied = {"lm_head.weight": np.zeros((5, 4), np.float32)}
    save_file({**tensors, **tied}, tmp_path / "transformers" / "model.safetensors")
    state = state_at(9)
    state.set_parameters(load_weights(tmp_path / path, TABLE), path)
    assert state.views()["transformer.wte.weight"].tolist() == state_at(2).views()["transformer.wte.weight"].tolist()
    assert state.step == 9


def test_damaged_weights_are_refused_not_passed_over(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    flip(run / "checkpoints" / "step-00000002" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors has been altered"):
        load_weights(run, TABLE)


@pytest.mark.parametrize("path", ["gone", "empty", "run-without"])
def test_where_no_weights_are_the_error_says_what_was_looked_for(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run-without" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=f"no weights in .*{path}; expected a run folder, a checkpoint"):
        load_weights(tmp_path / path, TABLE)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"ln_f\.bias is unknown to this model"):
        load_weights(run_folder(tmp_path), TABLE[:2])
