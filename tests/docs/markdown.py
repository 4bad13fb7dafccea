"""Reads a page's fenced blocks, and the comments before them that tell the test what to do otherwise.

    <!-- test
    skip: needs the network            the block is not run
    needs: tokenizers                  nor, but by tox, the whole page where this package is missing
    add: --set train.steps=2           added to every `cllm train` command of the block
    replace: 2000 => 2                 done to the block's commands or code
    exit: 1                            what its last command exits with
    file: my_check.py                  the block is written to this file, and not run
    cell: notebook                     of a notebook: all cells of the page run in one process, after all else
    -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = (
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
)

_BLOCK = re.compile(
    r"(?:<!-- test\n(?P<notes>.*?)-->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_NOTES = ("skip", "needs", "add", "replace", "exit", "file", "cell")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where its text begins."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def note(self, name: str) -> str | None:
        values = self.notes.get(name)
        return values[0] if values else None

    def adapted(self, text: str) -> str:
        """A command or code as the test runs it."""
        for replacement in self.notes.get("replace", []):
            old, _, new = replacement.partition(" =>")
            text = text.replace(old, new.strip())
        added = " ".join(self.notes.get("add", []))
        # At the end, for the last of two values counts.
        return f"{text} {added}" if added and "cllm train" in text else text

    def commands(self) -> list[tuple[str, list[str]]]:
        """Of a console block: each command after `$ `, and the lines of output shown below it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found and found[-1][0].endswith("\\"):
                found[-1] = (found[-1][0][:-1] + line.removeprefix("> "), [])
            elif found:
                found[-1][1].append(line)
        return found


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        notes: dict[str, list[str]] = {}
        for line in (match["notes"] or "").splitlines():
            name, _, value = line.partition(": ")
            assert name in _NOTES, f"{page}: {line!r} is no note to the test"
            notes.setdefault(name, []).append(value)
        line_number = text.count("\n", 0, match.start("text")) + 1
        yield Block(page, line_number, match["language"], match["text"], notes)
