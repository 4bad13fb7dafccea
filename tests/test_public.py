"""The names that `import cllm` gives: listed, imported when they are first used, and with their types."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import cllm
from cllm.cli import main

NAMES = ["Model", "Trainer", "__version__", "get_include", "load", "load_config"]

LAZY = """
import sys, cllm
assert {names} <= set(dir(cllm)), dir(cllm)
assert not {{"numpy", "cllm.version"}} & set(sys.modules)
for name in {names}:
    getattr(cllm, name)
"""

USE = """
import cllm
from cllm import Model, Trainer, __version__, load, load_config

def use(model: Model) -> str:
    return model.generate("The ", max_new_tokens=5)

config = load_config(None, ["train.steps=5"])
for report in Trainer(config, out="runs/mine"):
    reveal_type(report.loss)
reveal_type(use(load("runs/mine")))
reveal_type(config.train.batch_size)
reveal_type(__version__)
cllm.load_config(None, "train.steps=5")
cllm.Trianer(config)
"""


def test_names_are_listed_before_they_are_imported() -> None:
    assert sorted(cllm.__all__) == NAMES
    subprocess.run([sys.executable, "-c", LAZY.format(names=set(NAMES))], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Trianer'"):
        getattr(cllm, "Trianer")  # noqa: B009 - a checker would see it


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cllm.__version__ == metadata.version("cllm")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cllm {cllm.__version__}\n"


def test_a_checker_sees_the_types_of_the_public_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="tox -e types has it")
    (tmp_path / "use.py").write_text(USE)
    package = Path(str(cllm.__file__)).parent.parent
    environment = dict(os.environ)
    if not package.is_relative_to(sys.prefix):  # an editable install, which only Python itself finds
        environment["MYPYPATH"] = str(package)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "use.py"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    # Of what mypy says, versions differ in the names of builtins and in the advice.
    told = [line.removeprefix("use.py:").replace("builtins.", "") for line in run.stdout.splitlines()[:-1]]
    assert [re.split(r"  \[|; maybe", line)[0] for line in told] == [
        '10: note: Revealed type is "float"',
        '11: note: Revealed type is "str"',
        '12: note: Revealed type is "int"',
        '13: note: Revealed type is "str"',
        '14: error: Argument 2 to "load_config" has incompatible type "str"; expected "list[str] | tuple[str, ...]"',
        '15: error: Module has no attribute "Trianer"',
    ], run.stdout + run.stderr
