"""How the generated parts of docs/reference are written: tables, code, docstrings as one line."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = tuple(head)
    yield "| " + " | ".join(names) + " |"
    yield "|---" * len(names) + "|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def code(text: str) -> str:
    return f"`{text}`"


def fenced(text: str) -> str:
    lines = "\n".join(line.strip() for line in text.splitlines())
    return f"```text\n{lines}\n```"


def line(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split())
