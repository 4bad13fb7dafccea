"""Which checkpoints go and which stay, and what becomes of a folder that was to be replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from cllm.generations import expendable, generation_path, generations, new_generation, remove, remove_temporaries


def make(folder: Path, *steps: int) -> None:
    for step in steps:
        path = generation_path(folder, step)
        path.mkdir()
        (path / "content").write_text(str(step))


def test_generations_are_found_newest_first_and_nothing_else_is(tmp_path: Path) -> None:
    make(tmp_path, 20, 100, 3, 123456789)
    for name in ("step-4", "step-000000x4", "step-00000004.bak", ".tmp-step-00000009", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000077").touch()
    assert [path.name for path in generations(tmp_path)] == [
        "step-123456789",
        "step-00000100",
        "step-00000020",
        "step-00000003",
    ]


@pytest.mark.parametrize(
    ("losses", "keep", "keep_best", "going"),
    [
        ({1: None, 2: None, 3: None}, 3, False, []),
        ({1: None, 2: None, 3: None}, 2, False, [1]),
        ({1: None, 2: None, 3: None}, 1, False, [2, 1]),
        ({1: None, 2: None, 3: None}, 0, False, [2, 1]),
        ({1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}, 2, True, [2]),
        ({1: 1.0, 2: 1.0, 3: 3.0, 4: 4.0}, 1, True, [3, 2]),
        ({1: float("nan"), 2: float("-inf"), 3: None, 4: 4.0}, 1, True, [3, 2, 1]),
        ({1: 9.0, 2: 8.0, 3: 7.0}, 1, True, [2, 1]),
        ({1: None, 2: "broken", 3: None, 4: None}, 3, False, []),
        ({1: "broken", 2: None, 3: None, 4: None}, 3, False, [1]),
        ({1: None, 2: "broken", 3: None, 4: None, 5: None}, 2, False, [3, 2, 1]),
        ({1: None, 2: None, 3: "broken", 9: "broken"}, 1, False, [1]),
        ({1: 0.5, 2: "broken", 3: 1.0, 4: 1.0}, 2, True, [2]),
    ],
)
def test_the_newest_that_verify_and_the_best_stay(
    tmp_path: Path, losses: dict[int, Any], keep: int, keep_best: bool, going: list[int]
) -> None:
    make(tmp_path, *losses)
    sound = {generation_path(tmp_path, step): loss for step, loss in losses.items() if loss != "broken"}
    newest = max(sound)
    assert expendable(newest, sound, keep, keep_best) == [generation_path(tmp_path, step) for step in going]


def test_a_new_generation_has_its_name_only_when_it_is_full(tmp_path: Path) -> None:
    target = generation_path(tmp_path, 1)
    with new_generation(target) as temporary:
        (temporary / "content").write_text("new")
        assert not target.exists()
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_while_filling_leaves_the_old_generation_alone(tmp_path: Path, error: type[BaseException]) -> None:
    make(tmp_path, 1)
    with pytest.raises(error), new_generation(generation_path(tmp_path, 1)):
        raise error
    assert os.listdir(tmp_path) == ["step-00000001"]
    assert (tmp_path / "step-00000001" / "content").read_text() == "1"


def test_a_generation_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    make(tmp_path, 1)
    with new_generation(generation_path(tmp_path, 1)) as temporary:
        (temporary / "content").write_text("new")
    assert os.listdir(tmp_path) == ["step-00000001"]
    assert (tmp_path / "step-00000001" / "content").read_text() == "new"


def test_the_old_one_is_put_back_if_the_new_one_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, 1)
    target, rename = generation_path(tmp_path, 1), os.rename

    def refusing(source: Path, to: Path) -> None:
        if to == target and "replaced" not in source.name:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        rename(source, to)

    monkeypatch.setattr(os, "rename", refusing)
    with pytest.raises(PermissionError), new_generation(target):
        pass
    assert os.listdir(tmp_path) == ["step-00000001"]
    assert (target / "content").read_text() == "1"


@pytest.mark.parametrize("new_one", [False, True])
def test_a_generation_set_aside_comes_back_unless_there_is_a_new_one(tmp_path: Path, new_one: bool) -> None:
    aside = tmp_path / ".tmp-replaced-step-00000001"
    aside.mkdir()
    (aside / "content").write_text("old")
    if new_one:
        make(tmp_path, 1)
    (tmp_path / ".tmp-step-00000001-77-abcd").mkdir()
    remove_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["step-00000001"]
    assert (tmp_path / "step-00000001" / "content").read_text() == ("1" if new_one else "old")


def test_removing_takes_the_name_away_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, 1)
    seen: list[list[Path]] = []
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: seen.append(generations(tmp_path)))
    remove(generation_path(tmp_path, 1))
    assert seen == [[]]
