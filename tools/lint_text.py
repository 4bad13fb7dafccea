"""Text as the lint reads it: comments and strings blanked, so that lines keep their numbers and positions."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CYTHON = re.compile(
    r"(?s)(?P<text>" + r"|".join(rf"{q}(?:\\.|[^\\])*?{q}" for q in ('"""', "'''"))
    + r"|" + r"|".join(rf"{q}(?:\\.|[^{q}\\\n])*{q}" for q in "\"'") + r")|#[^\n]*"
)
_VERBATIM = re.compile(r"cdef\s+extern\s+from\s+\S+(\s+nogil)?\s*:\s*$")  # what C in quotes follows
_BLOCK = re.compile(r"(?s)/\*.*?\*/")  # of the C in Cython, where // divides
_C = re.compile(r"(?s)/\*.*?\*/|//[^\n]*")
_C_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_BUILD = re.compile(r"(?m)^[ \t]*#.*$")


def matches(pattern: str, code: str) -> Iterator[tuple[int, str]]:
    """Each match of the pattern, with its line."""
    for match in re.finditer(pattern, code):
        yield line_of(match, code), match[0]


def line_of(match: re.Match[str], code: str) -> int:
    return code.count("\n", 0, match.start()) + 1


def cython_code(text: str) -> str:
    """Without comments and strings, but with C between `cdef extern from *:` and its closing quotes, and with C's
    names of functions: in `float f "expf"(float)` the string is what runs."""

    def blank(match: re.Match[str]) -> str:
        is_verbatim = match["text"] and _VERBATIM.search(text[: match.start()])
        is_name = re.fullmatch(r"[\"']\w+[\"']", match[0]) and re.match(r"\s*\(", text[match.end() :])
        return match[0] if is_verbatim or is_name else _spaces(match)

    return _BLOCK.sub(_spaces, _CYTHON.sub(blank, text))


def c_code(text: str) -> str:
    """Without comments, and without strings but those of attributes and _Pragma, which are code."""
    lines = _C.sub(_spaces, text).split("\n")
    return "\n".join(x if re.search(r"__attribute__|_Pragma", x) else _C_STRING.sub(_spaces, x) for x in lines)


def build_code(text: str) -> str:
    """Without the lines that are comments."""
    return _BUILD.sub(_spaces, text)


def _spaces(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
