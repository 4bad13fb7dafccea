"""The names that `import cllm` gives: listed, imported when they are first used, and with their types."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cllm

NAMES = ["Model", "Trainer", "load", "load_config"]

LAZY = """
import sys, cllm
assert {names} <= set(dir(cllm)), dir(cllm)
assert "numpy" not in sys.modules
for name in {names}:
    getattr(cllm, name)
"""

USE = """
import cllm
from cllm import Model, Trainer, load, load_config

def use(model: Model) -> str:
    return model.generate("The ", max_new_tokens=5)

config = load_config(None, ["train.steps=5"])
for report in Trainer(config, out="runs/mine"):
    reveal_type(report.loss)
reveal_type(use(load("runs/mine")))
reveal_type(config.train.batch_size)
cllm.load_config(None, "train.steps=5")
cllm.Trianer(config)
"""


def test_names_are_listed_before_they_are_imported() -> None:
    assert sorted(cllm.__all__) == NAMES
    subprocess.run([sys.executable, "-c", LAZY.format(names=set(NAMES))], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Trianer'"):
        getattr(cllm, "Trianer")  # noqa: B009 - a checker would see it


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
        '13: error: Argument 2 to "load_config" has incompatible type "str"; expected "list[str] | tuple[str, ...]"',
        '14: error: Module has no attribute "Trianer"',
    ], run.stdout + run.stderr
