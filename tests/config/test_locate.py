"""The paths of [data] hold from any folder, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm.config import load_config, located


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("text")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "absolute"),
    [("a.txt", "a.txt"), ("./a.txt", "a.txt"), ("~/a.txt", "a.txt"), ("*.txt", "*.txt"), (".", "")],
)
def test_what_is_there_becomes_absolute(path: str, absolute: str, here: Path) -> None:
    wanted = str(here / absolute)
    for override in (f"data.path={path}", f"data.mixture=[{{path='{path}'}}]", f"data.source=['{path}', 'a.txt']"):
        loader = ["data.loader=text"] if "source" in override else []
        data = located(load_config(None, [override, *loader])).data
        assert wanted in (data.path, *(data.source or ()), *(part.path for part in data.mixture or ()))


def test_a_tokenizers_file_is_a_path_and_its_name_is_none(here: Path) -> None:
    for name in ("byte", "tokenizer.json"):
        (here / name).write_text("{}")
    assert located(load_config(None, ["data.path=a.txt", "data.tokenizer=byte"])).data.tokenizer == "byte"
    named = load_config(None, ["data.path=a.txt", "data.tokenizer=tokenizer.json"])
    assert located(named).data.tokenizer == str(here / "tokenizer.json")


def test_what_is_not_there_stays_as_it_was_written(here: Path) -> None:
    for override in ("data.path=missing.txt", "data.path=no*.txt", "data.path=/absolute/missing.txt"):
        config = load_config(None, [override])
        assert located(config) == config
    named = load_config(None, ["data.loader=corpus", "data.source=wiki:en"])
    assert located(named) == named


def test_locating_again_is_no_change(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = located(load_config(None, ["data.path=a.txt"]))
    monkeypatch.chdir("/")
    assert located(once) == once
