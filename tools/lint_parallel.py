"""Races and float reductions inside prange and parallel() bodies: Cython compiles them without a word.

Not a proof: it sees updates of what all threads share, by name. Stores to computed places it must believe
(`out[j] = x` where j runs over the thread's own slice), and so it does not look into the functions that a body calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.lint_finding import Finding

INTEGER = r"(?:unsigned\s+|const\s+)*(?:int|long|short|char|bint|Py_ssize_t|size_t|ssize_t|u?int\d+_t|uintptr_t)"

RACE = "a race where threads write the same element; index it by the loop variable alone, or write to its own slice"
REDUCTION = "an OpenMP reduction adds in the order in which threads finish; give each thread its own and fold in order"
PRIVATE = "each thread has a copy of this, undefined at first, and the last one's stays; write to slices, fold in order"

_PLACE = r"[A-Za-z_][\w.]*(?:\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\][\w.]*)*"
_IN_PLACE = re.compile(rf"({_PLACE})\s*(?:\+|-|\*|/|//|%|&|\||\^|<<|>>|@)=(?!=)")
_ASSIGNMENT = re.compile(rf"(?:^|[:;])\s*({_PLACE})\s*=(?!=)([^;]*)")


def parallel_loops(path: str, code: str) -> list[Finding]:
    """The findings in all parallel loops of a file whose comments and strings are blank."""
    lines, found = code.split("\n"), {}
    for number, line in enumerate(lines):
        loop = re.match(r"\s*for\s+(\w+)\s+in\s+(?:\w+\.)*prange\b", line)
        if loop or re.match(r"\s*with\s+.*\bparallel\s*\(", line):
            variable, integers = loop[1] if loop else None, _integers(lines[:number])
            private: set[str] = set()
            for at, statement in _statements(lines, number):
                for what, reason in [*_updates(statement, variable, integers), *_stores(statement, variable, private)]:
                    found[at, what] = Finding(path, at + 1, what, reason)
    return list(found.values())


def _statements(lines: list[str], header: int) -> Iterator[tuple[int, str]]:
    """A block's header and all that is indented deeper, a statement of several lines in one piece."""
    at = header
    while at < len(lines):
        if at > header and lines[at].strip() and _indent(lines[at]) <= _indent(lines[header]):
            return
        end = at + 1
        while end < len(lines) and _depth("".join(lines[at:end])) > 0:
            end += 1
        yield at, " ".join(lines[at:end])
        at = end


def _depth(text: str) -> int:
    return sum((c in "([{") - (c in ")]}") for c in text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _integers(before: list[str]) -> set[str]:
    """Names that the function around the last line declares as integers: their reductions are exact."""
    start = max((n for n, line in enumerate(before) if re.match(r"\s*c?p?def\b.*\(", line)), default=0)
    names: set[str] = set()
    for line in before[start:]:
        for declared in re.findall(rf"\b{INTEGER} +((?:\w+ *(?:=[^,]*)?(?:, *|$))+)", line):
            names |= set(re.findall(r"(\w+) *(?:=|,|$)", declared))
    return names


def _updates(statement: str, variable: str | None, integers: set[str]) -> Iterator[tuple[str, str]]:
    """`out[0] += x[i]`, and `total += x[i]` unless it is an integer."""
    for match in _IN_PLACE.finditer(statement):
        if "[" in match[1]:
            if variable not in _indices(match[1]):
                yield match[0], RACE
        elif "." in match[1]:
            yield match[0], RACE
        elif match[1] not in integers:
            yield match[0], REDUCTION


def _stores(statement: str, variable: str | None, private: set[str]) -> Iterator[tuple[str, str]]:
    """`out[0] = out[0] + x[i]`, `out[0] = x[i]` and `total = total + x[i]`; `private` gathers what begins here."""
    private |= set(re.findall(r"\bfor\s+(\w+)\s+in\b", statement))
    for match in _ASSIGNMENT.finditer(statement):
        place, value = match[1], match[2]
        reads_itself = re.search(rf"(?<![\w.]){re.escape(_tight(place))}(?![\w\[])", _tight(value))
        if "[" in place or "." in place:
            indices = _indices(place)
            base = re.split(r"[.\[]", place)[0]
            same_for_all = bool(indices) and all(index.isdigit() for index in indices) and base not in private
            if variable not in indices and (reads_itself or same_for_all):
                yield f"{place} =", RACE
        elif reads_itself and place not in private:
            yield f"{place} =", PRIVATE
        else:
            private.add(place)


def _indices(place: str) -> list[str]:
    return [index.strip() for group in re.findall(r"\[([^\]]*)\]", place) for index in group.split(",")]


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)
