"""No file lies about that nothing uses: tools, benchmarks, what tests share, plugins' sources, configs, beside pages.

A file is used if a used one names it: by path from the project or from its own folder, or as a module. That begins at
what pytest, tox, CI, installers and readers open by themselves. test_completeness.py looks at src/cllm, more closely.
"""

from __future__ import annotations

import re
from functools import cache
from os.path import dirname, relpath
from pathlib import PurePosixPath

import pytest

from tests.layers import ROOT

FOLDERS = ("tools", "benchmarks", "tests", "plugins", "configs", "docs", ".ci")
STARTS = (
    "README.md", "CONTRIBUTING.md", "tox.ini", "pyproject.toml", "MANIFEST.in", ".ci/run", "test_*.py", "conftest.py",
)
MADE = ("build", "dist", "__pycache__", "*.egg-info", ".*_cache")  # by builds and tests
MARKERS = ("py.typed", "*.pyi", "tests/*/__init__.py", "tests/__init__.py")  # being there is their use


def is_of(path: str, patterns: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).match(pattern) for pattern in patterns)


@cache
def texts() -> dict[str, str]:
    """Every file that may be a stray, or may name one, by its path from the project."""
    inside = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    found = {path.relative_to(ROOT).as_posix(): path for path in (*inside, *ROOT.glob("*.*"))}
    return {
        name: path.read_text(encoding="utf-8", errors="replace")
        for name, path in found.items()
        if path.is_file() and not any(is_of(part, MADE) for part in PurePosixPath(name).parts)
        and not (path.suffix == ".c" and path.with_suffix(".pyx").exists())  # what Cython has made of it
    }


def strays(files: dict[str, str]) -> set[str]:
    """The files of FOLDERS that no used file names."""
    unused = {path for path in files if path.split("/")[0] in FOLDERS and not is_of(path, MARKERS)}
    waiting = [path for path in files if is_of(path, STARTS)]
    while waiting:
        unused.discard(user := waiting.pop())
        named = {path for path in unused if names(user, files[user], path)}
        waiting += named
        unused -= named
    return unused


def names(user: str, text: str, path: str) -> bool:
    if path.endswith(".md") and not user.endswith((".md", ".toml")):
        return False  # a page is for readers: what counts is a link
    return not words(text).isdisjoint(called(path, dirname(user)))


@cache
def called(path: str, folder: str) -> set[str]:
    """How a file in this folder may name it."""
    place = PurePosixPath(path)
    is_beside = place.suffix == ".py" and place.parent == PurePosixPath(folder)  # as pytest imports it
    return {path, relpath(path, folder or "."), *modules(path), *([place.stem] if is_beside else [])}


@cache
def words(text: str) -> set[str]:
    """What may be a path or a module, and the packages that a module is in."""
    found = {word.strip(".") if "/" not in word else word.rstrip(".") for word in re.findall(r"[\w./-]+", text)}
    dotted = [word.split(".") for word in found if "/" not in word]
    return found | {".".join(parts[:n]) for parts in dotted for n in range(1, len(parts))}


def modules(path: str) -> list[str]:
    """tools/lint.py is tools.lint; plugins/cllm-robust/src/cllm_robust/__init__.py is cllm_robust."""
    name = path.removesuffix(".py").removesuffix("/__init__").rpartition("/src/")[2]
    return [name.replace("/", ".")] if path.endswith(".py") else []


def test_there_are_none() -> None:
    assert len(texts()) > 100
    assert strays(texts()) == set()


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        ("tools", ".py"), ("benchmarks", ".py"), ("tests", ".py"), ("tests/data", ".py"), ("tests/parity", ".bin"),
        ("plugins/cllm-robust", ".toml"), ("plugins/cllm-robust/src/cllm_robust", ".py"), ("configs", ".toml"),
        ("docs", ".txt"), ("docs/how-to", ".md"), ("docs/examples", ".py"), (".ci", ""),
    ],
)
def test_each_would_be_seen(folder: str, suffix: str) -> None:
    path = f"{folder}/left_over{suffix}"
    assert strays({**texts(), path: f"That it names itself, {path}, is no use."}) == {path}


def test_two_that_name_each_other_are_strays() -> None:
    one, other = (f"tools/left_over_{number}.py" for number in (1, 2))
    assert strays({**texts(), one: other, other: one}) == {one, other}
