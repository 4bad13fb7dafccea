"""Plugins that are unwell, each in one way: what a user sees of them in a command, and in `cllm plugins doctor`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from cllm.cli import main
from cllm.hooks import examination
from tests.hooks.conftest import Shelf

GOOD = """
from cllm.hooks import ReducerSpec, hookimpl

class Sum:
    kind = "gather"
    def combine(self, gradients, weights, out): ...

@hookimpl
def cllm_register_reducers():
    yield ReducerSpec("{name}", "a reducer", Sum)
"""
WELL = GOOD.format(name="bad.it")
HANGS = "import time\nwhile True: time.sleep(0.01)\n"
LIES = GOOD.replace("Sum)", "lambda: 7)").format(name="bad.it")
CAPSULE = GOOD.replace("def combine(self, gradients, weights, out): ...", "def __cllm_reducer__(self): return 7")
UNMARKED = WELL + "\ndef cllm_step_end(report): ...\n"

# Source; what `plugins list` shows; what `plugins doctor` shows, in which line; whether doctor fails.
UNWELL: dict[str, tuple[str, str, str, int]] = {
    "broken": ("1 / 0", "bad 1.0: broken (ZeroDivisionError: division by zero", "broken (ZeroDivisionError", 1),
    "slow": ("import time; time.sleep(0.2)\n" + WELL, "bad 1.0: active", "note: its import takes", 0),
    "heavy": ("import numpy\n" + WELL, "bad 1.0: active", "note: it imports numpy to be listed", 0),
    "misnamed": (
        WELL.replace("register_reducers", "register_reducer"),
        'broken (no hook is called cllm_register_reducer; expected one of those in cllm.hooks.hookspecs; did you mean',
        'did you mean "cllm_register_reducers"?', 1,
    ),
    "a part with a bad name": (GOOD.format(name="Bad It"), "broken (ReducerSpec 'Bad It': name", "name 'Bad It'", 1),
    "a hook that nobody calls": (UNMARKED, "bad 1.0: active", "note: nobody calls cllm_step_end: mark it with", 0),
    "outdated": (
        'cllm_api = ">=0.3,<1"\n' + WELL,
        "bad 1.0: left out (it is written for hooks of version >=0.3,<1, and this cllm has 1.0)",
        "left out (it is written for hooks of version >=0.3,<1", 0,
    ),
    "of the future": ('cllm_api = ">=2"\n' + WELL, "left out (it is written", ">=2, and", 0),
    "a version that is none": (
        "cllm_api = '1 or so'\n" + WELL, "broken (cllm_api = '1 or so'; expected comparisons",
        'as in cllm_api = ">=1,<2"', 1,
    ),
    "lying about what it makes": (LIES, "bad 1.0: active", "problem: reducer bad.it: a int without kind", 1),
    "lying about its struct": (
        CAPSULE.format(name="bad.it"), "bad 1.0: active", "problem: reducer bad.it: __cllm_reducer__() returned int", 1,
    ),
}


@pytest.mark.parametrize(("source", "listed", "examined", "code"), UNWELL.values(), ids=UNWELL)
def test_what_a_user_sees(
    source: str, listed: str, examined: str, code: int, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.install("bad", source)
    assert main(["plugins", "list"]) == 0
    assert listed in capsys.readouterr().out
    assert main(["plugins", "doctor"]) == code
    assert examined in capsys.readouterr().out


def test_two_parts_of_one_name(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.install("bad", GOOD.format(name="tree"))
    assert main(["plugins", "list"]) == 1
    said = "reducer tree: two of this name, from cllm and from dist-bad"
    assert said in capsys.readouterr().err
    assert main(["plugins", "doctor"]) == 1
    assert f"bad 1.0: broken ({said}" in capsys.readouterr().out


def test_two_parts_of_one_name_in_two_plugins(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        shelf.install(name, GOOD.format(name="same"))
    assert main(["plugins", "doctor"]) == 1
    said = "    problem: reducer same is in dist-one and in dist-two: rename one, or"
    assert capsys.readouterr().out.count(said) == 2


def test_two_plugins_of_one_name(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("one", "two"):
        shelf.install("bad", GOOD.format(name=f"bad.{number}"), distribution=f"dist-{number}")
    assert main(["plugins", "list"]) == 1
    assert "two of this name, from dist-one and from dist-two" in capsys.readouterr().err
    assert main(["plugins", "doctor"]) == 1
    said = "bad 1.0: broken (plugin bad: two of this name, from dist-one and from dist-two"
    assert capsys.readouterr().out.count(said) == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (HANGS, "broken (it hangs: its import is not over after 5 s)"),
        ("import os; os._exit(3)", "broken (it ends the process that imports it, with 3)"),
        ("import os; os.kill(os.getpid(), 11)", "broken (it ends the process that imports it, by signal 11)"),
        (f"print('{'x' * 100_000}')\n" + WELL, "active, imported in"),
    ],
    ids=["hangs", "exits", "crashes", "is loud"],
)
def test_the_doctor_survives(
    source: str, said: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.install("bad", source)
    shelf.install("well", GOOD.format(name="well.it"))
    if source == HANGS:
        monkeypatch.setattr(examination, "SECONDS", 5.0)
    main(["plugins", "doctor"])
    printed = capsys.readouterr().out
    assert f"bad 1.0: {said}" in printed
    assert "well 1.0: active, imported in" in printed


def test_the_doctor_in_json(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.install("bad", "import numpy\n" + WELL)
    path = shelf.module("alone", 'from cllm import kernels\n' + GOOD.format(name="alone").replace(
        "def combine(self, gradients, weights, out): ...", "def __cllm_reducer__(self): return kernels.sum_reducer()"
    ).replace("gather", "fold"))
    assert main(["plugins", "doctor", "--json", "-p", str(path), "-p", "no:bad"]) == 0
    rows: dict[str, Any] = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["bad"]["state"] == "left out" and rows["bad"]["milliseconds"] is None
    assert rows["alone"]["kernel_abi"] == {"reducer alone": "1.0"}
    assert rows["alone"]["milliseconds"] > 0 and rows["alone"]["notes"][-1].startswith("it imports numpy")
    assert rows["builtin"]["problems"] == []


# --- one that hangs, in another command --------------------------------------------------------------------------

WAIT = """
import sys
from cllm.hooks import awaiting
awaiting.SECONDS = 0.5
from cllm.cli import main
sys.exit(main(["plugins", "list", "-p", "./slow.py"]))
"""


def test_a_line_says_what_is_waited_for_and_ctrl_c_works(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(textwrap.dedent(HANGS))
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([sys.executable, "-c", WAIT], cwd=tmp_path, stdout=said, stderr=said)
        try:
            wait_for(tmp_path / "said", "still being imported")
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
            process.wait()
    lines = (tmp_path / "said").read_text().splitlines()
    assert lines == [
        "cllm: warning: plugin slow (slow.py) is still being imported, after 0.5 s; Ctrl-C, and `-p no:slow` leaves it "
        "out",
        "cllm: warning: interrupted while plugin slow (slow.py) was being imported; `-p no:slow` leaves it out",
        "cllm: interrupted",
    ]


def wait_for(path: Path, text: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while text not in path.read_text():
        assert time.monotonic() < until, path.read_text()
        time.sleep(0.05)


def test_one_that_does_not_hang_says_nothing(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.install("well", GOOD.format(name="well.it"))
    assert main(["plugins", "list"]) == 0
    assert capsys.readouterr().err == ""


def test_verify_leaves_plugins_out_as_well(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.install("bad", "open('imported', 'w').close()")
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "absent", "--no-plugins"]) != 0
    assert not Path("imported").exists()


# --- named: then it is an error ------------------------------------------------------------------------------------


def test_an_outdated_plugin_that_is_named_is_an_error(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.install("bad", 'cllm_api = "<1"\n' + WELL)
    for words in (["-p", "bad"], ["--strict-plugins"]):
        assert main(["plugins", "list", *words]) == 1
        assert "plugin bad (dist-bad): it is written for hooks of version <1" in capsys.readouterr().err


def test_a_part_of_an_outdated_plugin_that_a_run_names(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.install("bad", 'cllm_api = "<1"\n' + WELL)
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("A text.\n" * 100)
    assert main(["train", "--data", "text.txt", "--set", "reducer.name=bad.it"]) == 2
    assert "left out bad (dist-bad: it is written for hooks of version <1, and this cllm has 1.0)" in (
        capsys.readouterr().err
    )


def test_each_import_and_each_call_is_traced(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    source = GOOD.format(name="well.it").replace("    yield", "    time.sleep(0.03)\n    yield")
    shelf.install("well", f"import time\n{source}")
    assert main(["plugins", "list", "--trace-plugins"]) == 0
    traced = {what: float(took) for what, took, _ in (
        line.removeprefix("cllm: trace: ").rsplit(" ", 2) for line in capsys.readouterr().err.splitlines()
    )}
    assert {"import of plugin builtin", "import of plugin well", "cllm_register_sinks of plugin builtin"} <= set(traced)
    assert traced["cllm_register_reducers of plugin well"] >= 30.0
