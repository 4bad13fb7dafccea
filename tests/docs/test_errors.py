"""Every class of error has a section of docs/reference/errors.md, with an example that happens as it says there.

The page's commands run as on every page; `sitecustomize`, put before them, writes down which errors they make.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.errors import CllmError
from tests.docs.markdown import ROOT, Block, blocks
from tests.docs.output import difference, masked
from tests.docs.running import lay_out, run_block

PAGE = ROOT / "docs/reference/errors.md"
NOTING = """
import json, os
from cllm import errors

made = errors.CllmError.__init__

def noting(error, who, came, expected, todo):
    made(error, who, came, expected, todo)
    told = {"kind": type(error).__name__, "message": str(error), "parts": [who, came, expected, todo]}
    with open(os.environ["NOTED"], "a") as file:
        print(json.dumps(told), file=file)

errors.CllmError.__init__ = noting
"""


def kinds() -> list[type[CllmError]]:
    """CllmError and all that is derived from it, in whichever module."""
    for module in pkgutil.walk_packages(cllm.__path__, "cllm."):
        if "._kernels." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type[CllmError]] = [CllmError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith("cllm.")]


def sections() -> dict[str, str]:
    """The page's sections by their headings."""
    parts = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples(name: str) -> list[Block]:
    """The blocks of a section: what is laid out or run first, and last the console block that fails."""
    begin = PAGE.read_text(encoding="utf-8").index(f"## {name}\n")
    first = PAGE.read_text(encoding="utf-8").count("\n", 0, begin)
    last = first + sections()[name].count("\n") + 1
    return [block for block in blocks(PAGE) if first < block.line <= last]


def test_every_class_has_its_section_and_every_section_its_class() -> None:
    assert set(sections()) == {kind.__name__ for kind in kinds()}
    assert len(sections()) >= 14


def test_packages_in_plugins_have_none_of_their_own() -> None:
    """They use cllm's; one that has its own needs a section, too."""
    names = {kind.__name__ for kind in kinds()}
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "plugins").rglob("src/**/*.py")]
    assert len(sources) > 4
    bases = [base for text in sources for base in re.findall(r"^class \w+\((?:\w+\.)?(\w+)\b", text, re.MULTILINE)]
    assert bases and not names & set(bases)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_its_example_is_what_happens(kind: type[CllmError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = prepare(tmp_path, monkeypatch)
    *before, failing = examples(kind.__name__)
    for block in before:
        run_block(block, tmp_path, dict(os.environ), sys.executable, {})
    printed = run_block(failing, tmp_path, dict(os.environ), sys.executable, {})
    shown = failing.commands()[-1][1][-1]
    message = printed.splitlines()[-1]
    error = next(error for error in reversed(read(noted)) if error["message"] in message)
    assert error["kind"] == kind.__name__
    assert failing.note("exit") == str(kind.exit_code)
    assert f"Exit code {kind.exit_code}." in sections()[kind.__name__]
    assert difference([shown], message, {}) is None
    assert_four_parts(shown, error["parts"])


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(folder)
    (folder / "noting").mkdir()
    (folder / "noting" / "sitecustomize.py").write_text(NOTING)
    monkeypatch.setenv("PYTHONPATH", str(folder / "noting"))
    monkeypatch.setenv("NOTED", str(folder / "noted"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CLLM_ISA", raising=False)
    return folder / "noted"


def read(noted: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in noted.read_text().splitlines()]


def assert_four_parts(shown: str, parts: list[str]) -> None:
    """Who, what came, what was expected and what to do: all there, in this order, and whole on the page."""
    assert len(parts) == 4 and all(part.strip() for part in parts)
    places = [masked(shown).find(masked(part)) for part in parts]
    assert -1 not in places and places == sorted(places), f"{shown}\n{parts}"
    assert "..." not in shown, "the page shows the whole line"


def test_docstrings_say_what_the_classes_are_for() -> None:
    assert all(inspect.getdoc(kind) and kind.__doc__ != CllmError.__doc__ for kind in kinds()[1:])
