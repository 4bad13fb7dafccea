"""HTML pages that need no other file and no network: their frame and their tables, in which all texts are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

COLOURS = ("#1b6ca8", "#c2571a", "#2e7d32", "#7b3fa0", "#a8324a")  # told apart also by the colour-blind, in this order
STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #6a6a6a; --grid: #e4e4e4; --box: #f4f4f4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181b; --faint: #9a9a9a; --grid: #33363b; --box: #22252a; }
}
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; }
table { border-collapse: collapse; overflow-wrap: normal; }
td, th { padding: 0.15em 1em 0.15em 0; text-align: left; vertical-align: top; }
pre { background: var(--box); padding: 0.7em; overflow-x: auto; white-space: pre-wrap; }
svg { display: block; width: 100%; height: auto; } .wide { overflow-x: auto; }
"""


class Markup(str):
    """Text that is HTML already; every other text is escaped."""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page; `body` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}{style}</style></head><body>{body}</body></html>\n"
    )


def pairs(rows: Iterable[tuple[str, object]]) -> str:
    """A table of names and values."""
    return _wide("".join(f"<tr><th>{escape(name)}</th><td>{cell(value)}</td></tr>" for name, value in rows))


def rows(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table with a head."""
    head = "".join(f"<th>{cell(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell(text)}</td>' for text in line)}</tr>" for line in lines)
    return _wide(f"<tr>{head}</tr>{body}")


def cell(value: object) -> str:
    """A value as HTML."""
    return value if isinstance(value, Markup) else escape(str(value))


def _wide(table: str) -> str:
    """What is wider than the page is moved by itself."""
    return f'<div class="wide"><table>{table}</table></div>'
