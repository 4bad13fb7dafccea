"""What a look at a folder has found: problems, notes, and how much was looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cllm import atomic
from cllm.errors import CllmError, RunFolderError


@dataclass(frozen=True)
class Finding:
    """Something about a file, which is named from the folder that was looked at."""

    file: str
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.todo}"


@dataclass
class Report:
    """Problems make what was looked at unsound; notes are no fault, but good to know."""

    path: Path
    kind: str  # "run", "prepared data" or "token file"
    counts: Counter[str] = field(default_factory=Counter)  # of what is sound
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @contextmanager
    def file(self, path: Path) -> Iterator[None]:
        """An error of the block is a problem of this file."""
        try:
            with atomic.disk_errors(RunFolderError, "verify", path):
                yield
        except CllmError as error:
            self.problem(path, error.came, error.todo)

    def problem(self, path: Path, what: str, todo: str) -> None:
        """Errors name the file as well, or the one in a folder that it is: once is enough."""
        file = self._name(path)
        what = what.replace(f"{self.path}/", "").replace(str(self.path), file)
        first, _, rest = what.partition(" ")
        if (named := first.rstrip(":")) == file or named.startswith(f"{file}/"):
            file, what = named, rest
        self.problems.append(Finding(file, what, todo))

    def note(self, path: Path, what: str, todo: str) -> None:
        self.notes.append(Finding(self._name(path), what, todo))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix() if path != self.path else path.name
