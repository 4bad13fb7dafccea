"""`cllm plugins new`: what it writes and what it refuses; that the packages work is tests/templates' affair."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from cllm.cli import main
from cllm.hooks.manager import REGISTRY
from cllm.include import get_include
from cllm.newplugin import COMPILED, KINDS, TEMPLATES, create


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_kind_has_a_hook_of_its_own_but_the_op_which_comes_with_a_model() -> None:
    hooks = [kind.hook for kind in KINDS.values()]
    assert set(hooks) <= set(REGISTRY) and len(set(hooks)) == len(hooks) - 1


def test_every_template_belongs_to_a_kind() -> None:
    folders = {kind.folder or name for kinds in (KINDS, COMPILED) for name, kind in kinds.items()}
    assert {path.name for path in TEMPLATES.iterdir()} == folders | {"shared", "python", "compiled"}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_to_be_filled_in(kind: str, compiled: bool) -> None:
    if compiled and kind not in COMPILED:
        return
    folder = create(kind, "moon-shot", compiled, None, ())
    assert folder == Path("cllm-moon-shot")
    texts = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    header = texts.pop("kernel_abi.h", None)
    assert not [name for name, text in texts.items() if "$" in text and name != "README.md"]
    project = tomllib.loads(texts["pyproject.toml"])
    assert project["project"]["entry-points"]["cllm"] == {"moon-shot": "cllm_moon_shot"}
    assert (folder / "src" / "cllm_moon_shot" / "py.typed").exists()
    if compiled:
        assert header == (Path(get_include()) / "cllm" / "kernel_abi.h").read_text()


def test_it_says_what_it_wrote_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "new", "dataset", "moon", "--out", "here"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "here/src/cllm_moon/loader.py" in lines
    assert lines[-1].startswith("Next: pip install -e here    pytest here    cllm prepare moon.records ")
    assert main(["plugins", "new", "op", "sun", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "cllm-sun" and "src/cllm_sun/_op.c" in told["files"]
    assert told["use"] == "cllm train --data book.txt --set model.family=sun.gpt2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("new dataset", "new with 'dataset'"),
        ("new", "new without a name"),
        ("list it", "list with 'it'"),
        ("show", "show without a name"),
        ("show spike --compiled", "show with --compiled"),
        ("list --out x", "list with --out"),
        ("new datset moon", 'did you mean "dataset"?'),
        ("new dataset moon --compiled", "a compiled dataset; expected one of reducer, check, op"),
        ("new dataset Moon", "the name 'Moon'; expected at most 30 small letters"),
        ("new dataset ../moon", "the name '../moon'"),
        ("new dataset 1moon", "the name '1moon'"),
        ("new dataset m\u00f6on", "the name 'möon'"),
        ("new dataset cllm-moon", "without cllm"),
        (f"new dataset {'m' * 31}", "at most 30"),
        ("new dataset spike", "the name 'spike', which is taken"),
        ("new dataset builtin", "the name 'builtin', which is taken"),
        ("new dataset robust", "the name 'robust', which is taken"),
    ],
)
def test_what_is_refused(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", *words.split()]) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_the_name_of_a_module_that_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cllm_moon.py").touch()
    monkeypatch.syspath_prepend(".")
    assert main(["plugins", "new", "dataset", "moon"]) == 2
    assert "which is taken" in capsys.readouterr().err


def test_a_folder_that_is_in_use_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("cllm-moon").mkdir()
    Path("cllm-moon/mine").touch()
    assert main(["plugins", "new", "dataset", "moon"]) == 1
    assert "cllm-moon is there already" in capsys.readouterr().err
    assert [path.as_posix() for path in Path().rglob("*")] == ["cllm-moon", "cllm-moon/mine"]


def test_what_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cllm.newplugin.get_include", lambda: "/nowhere")
    with pytest.raises(Exception, match="nowhere"):
        create("op", "moon", False, None, ())
    assert not list(Path().iterdir())
