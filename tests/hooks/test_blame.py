"""An exception is the plugin's whose code it came through, wherever that code is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm.cli import main
from cllm.config import Part
from cllm.errors import InstabilityAbort, PluginError
from cllm.hooks.blame import blamed
from cllm.hooks.manager import build_manager
from tests.hooks.conftest import Shelf
from tests.runs import TEXT
from tests.test_cli import SMALL

SOURCE = """
import json
from cllm.hooks import DatasetSpec, ReducerSpec, hookimpl

class Broken:
    kind = "fold"

    def merge(self, left, right):
        raise ValueError("no luck")

    def finish(self, total, n_shards):
        pass

class Unread:
    def documents(self):
        yield json.loads("{")

@hookimpl
def cllm_register_reducers():
    yield ReducerSpec("broken", "raises", Broken)

@hookimpl
def cllm_register_datasets():
    yield DatasetSpec("unread", "raises elsewhere", Unread)
"""


def raised(name: str, plugins: list[str]) -> Exception:
    with pytest.raises(ValueError) as caught:
        list(build_manager(plugins).make("dataset", Part(name)).documents())
    return caught.value


def test_a_package_is_blamed_with_the_place_in_its_own_code(shelf: Shelf) -> None:
    shelf.install("mine", SOURCE, distribution="cllm-mine")
    error = blamed(raised("unread", []))
    assert isinstance(error, PluginError) and error.who == "plugin mine (cllm-mine)"
    assert error.came.startswith("JSONDecodeError: Expecting property name")
    assert error.came.endswith("(mine_of_cllm_mine.py:16)")  # though json raised it, in a file of its own


@pytest.mark.parametrize("argument", ["./mine.py", "mine"])
def test_what_p_names_is_blamed(argument: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf.folder)
    shelf.module("mine", SOURCE)
    error = blamed(raised("unread", [argument]), [argument, "no:other"])
    assert error is not None and error.who.startswith("plugin mine (") and error.came.endswith("(mine.py:16)")


def test_cllm_itself_is_blamed_on_nobody(shelf: Shelf) -> None:
    shelf.install("mine", SOURCE)
    with pytest.raises(TypeError) as caught:
        build_manager().make("dataset", Part("text", None))  # type: ignore[arg-type]
    assert blamed(caught.value) is None


def test_a_command_names_the_plugin_that_fails(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shelf.folder)
    shelf.module("mine", SOURCE)
    Path("book.txt").write_text(TEXT)
    Path("run.toml").write_text('[data]\npath = "book.txt"\n')
    assert main(["profile", "run.toml", *SMALL, "-p", "./mine.py", "--set", "reducer.name=broken"]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("cllm: plugin mine (mine.py): ValueError: no luck (mine.py:9); expected a plugin that")


def test_a_reducer_that_fails_in_a_run_is_an_abort(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shelf.folder)
    shelf.module("mine", SOURCE)
    Path("book.txt").write_text(TEXT)
    words = ["train", "--data", "book.txt", *SMALL, "-p", "./mine.py", "--set", "reducer.name=broken", "--out", "run"]
    assert main(words) == InstabilityAbort.exit_code
    assert capsys.readouterr().err.splitlines()[-1] == (
        "cllm: step 1: reducer broken of plugin mine (mine.py) failed: ValueError: no luck (mine.py:9); expected a "
        "reducer that works; the state after step 0 is saved in run; mend it and go on with: cllm train --resume run"
    )
