"""A bad input as a row of a table: how it is made, the command that meets it, and what the refusal must say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cllm import cli
from cllm.digest import file_digest
from cllm.errors import CllmError

Words = list[str]
SITE = "site"  # a folder of this name counts as one of installed packages


@dataclass(frozen=True)
class Case:
    """`make` puts the bad input into a new folder, in which the command then runs, and returns the command's words.

    The other fields are what the four parts of the message hold, each at least; `came` may be several texts.
    """

    name: str
    make: Callable[[Path], Words]
    error: type[CllmError]
    who: str
    came: str | Sequence[str]
    expected: str
    todo: str


@dataclass(frozen=True)
class Refusal:
    """How a command ended: what was raised within it, its exit code, what it printed, which files it changed."""

    raised: CllmError | None
    code: int
    out: str
    err: str
    changed: tuple[str, ...]


def content(folder: Path) -> dict[str, str]:
    """Every file and folder below, the former with their digests; what is no file is not read."""
    return {
        str(path.relative_to(folder)): file_digest(path) if path.is_file() and not _is_sparse(path) else "there"
        for path in folder.rglob("*")
        if path.name != "__pycache__" and path.suffix != ".pyc"
    }


def _is_sparse(path: Path) -> bool:
    found = path.stat()
    return found.st_blocks * 512 + (1 << 30) < found.st_size


def refusal(words: Words, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command in this process as a shell would."""
    raised: list[CllmError] = []
    monkeypatch.setattr(cli, "_run", _noting(cli._run, raised))
    monkeypatch.chdir(folder)
    if (folder / SITE).is_dir():
        monkeypatch.syspath_prepend(folder / SITE)
    before, modules = content(folder), set(sys.modules)
    code = cli.main(words)
    out, err = capsys.readouterr()
    after = content(folder)
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]  # another case has another of this name
    changed = tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
    return Refusal(raised[-1] if raised else None, code, out, err, changed)


def _noting(run: Callable[[Words], int], raised: list[CllmError]) -> Callable[[Words], int]:
    def noting(words: Words) -> int:
        try:
            return run(words)
        except CllmError as error:
            raised.append(error)
            raise

    return noting
