"""Patterns of .gitignore files, byte for byte as git has them (gitignore(5), and its wildmatch.c).

No library: pathspec, which others use, lets "*" with "!*/" take all folders away, where git keeps them. Matching
takes no time that grows beyond the lengths' product, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_CLASSES = {
    b"alnum": rb"0-9A-Za-z", b"alpha": rb"A-Za-z", b"blank": rb" \t", b"cntrl": rb"\x00-\x1f\x7f", b"digit": rb"0-9",
    b"graph": rb"\x21-\x7e", b"lower": rb"a-z", b"print": rb"\x20-\x7e", b"punct": rb"\x21-\x2f:-@\x5b-`\x7b-\x7e",
    b"space": rb" \t\n\r\f\v", b"upper": rb"A-Z", b"xdigit": rb"0-9A-Fa-f",
}
_NEVER = rb"(?!)"
_NO_NAME = re.compile(_NEVER)
_ANY_NAMES = None  # stands for **
_CLASS = re.compile(rb"\[:(\w*):\]")
_SLASH = re.compile(rb"\\?/")


@dataclass(frozen=True)
class Glob:
    """A pattern: what it says of the paths that it matches, and how they look."""

    ignores: bool  # False: it began with !
    of_folders: bool  # it ended in /
    names: tuple[re.Pattern[bytes] | None, ...]  # one for each name of a path, None for any number of them
    anywhere: bool  # it holds no /: the last name of a path decides

    def match(self, path: tuple[bytes, ...], is_folder: bool) -> bool:
        """Whether it matches these names, from the folder on where the pattern is at home."""
        if self.of_folders and not is_folder:
            return False
        return _matches(self.names, path[-1:] if self.anywhere else path)


def parse_glob(line: bytes) -> Glob | None:
    """The pattern of a line without its end; None for a comment or a blank line."""
    line = _without_blanks(line)
    if not line or line.startswith(b"#"):
        return None
    ignores = not line.startswith(b"!")
    text = line[0 if ignores else 1 :]
    of_folders = text.endswith(b"/")
    text = text.removesuffix(b"/")
    anywhere = b"/" not in text
    return Glob(ignores, of_folders, tuple(_names(text.removeprefix(b"/"), anywhere)), anywhere)


def _matches(names: tuple[re.Pattern[bytes] | None, ...], path: tuple[bytes, ...]) -> bool:
    """Name by name; where that fails behind a **, it takes one name more, and the last ** alone needs to be tried."""
    here = there = 0  # in names, in path
    again: tuple[int, int] | None = None
    while there < len(path):
        name = names[here] if here < len(names) else _NO_NAME
        if name is None:
            if here == len(names) - 1:
                return True  # at the end it takes all names that are left, of which there must be one
            again = (here, there)
            here += 1
        elif name.fullmatch(path[there]):
            here, there = here + 1, there + 1
        elif again is None:
            return False
        else:
            again = (again[0], again[1] + 1)
            here, there = again[0] + 1, again[1]
    return here == len(names)


def _names(pattern: bytes, anywhere: bool) -> Iterator[re.Pattern[bytes] | None]:
    """What each name has to look like. A slash in brackets divides nothing."""
    begin = at = 0
    pieces = [b""]  # of a name, between stars
    while at < len(pattern):
        if slash := _SLASH.match(pattern, at):
            yield _compiled(pattern[begin:at], pieces, anywhere)
            begin = at = slash.end()
            pieces = [b""]
            continue
        found, at = _atom(pattern, at)
        if found is None:
            pieces.append(b"")
        else:
            pieces[-1] += found
    yield _compiled(pattern[begin:at], pieces, anywhere)


def _compiled(text: bytes, pieces: list[bytes], anywhere: bool) -> re.Pattern[bytes] | None:
    if text == b"**" and not anywhere:
        return _ANY_NAMES
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    first, *middle, last = pieces
    # Of all stars but the last the shortest that fits will do.
    expression = first + b"".join(b"(?>.*?" + piece + b")" for piece in middle) + b".*" + last
    return re.compile(expression, re.DOTALL)


def _atom(pattern: bytes, at: int) -> tuple[bytes | None, int]:
    """The expression of what stands at a place, None for a star, and where the next begins."""
    one = pattern[at : at + 1]
    if one == b"*":
        return None, at + 1
    if one == b"?":
        return b".", at + 1
    if one == b"[":
        return _bracket(pattern, at + 1)
    if one == b"\\":
        at += 1
        one = pattern[at : at + 1]
    return (re.escape(one) if one else _NEVER), at + 1


def _bracket(pattern: bytes, at: int) -> tuple[bytes, int]:
    """What stands behind a [: as far as its ]; without one the pattern matches nothing."""
    negated = pattern[at : at + 1] in (b"!", b"^") and at < len(pattern)
    at += negated
    begin, members = at, b""
    while pattern[at : at + 1] != b"]" or at == begin:
        if at >= len(pattern):
            return _NEVER, at
        named = _CLASS.match(pattern, at)
        if named:
            if named[1] not in _CLASSES:
                return _NEVER, len(pattern)
            members, at = members + _CLASSES[named[1]], named.end()
            continue
        low, at = _character(pattern, at)
        high = low
        if pattern[at : at + 1] == b"-" and pattern[at + 1 : at + 2] not in (b"]", b""):
            high, at = _character(pattern, at + 1)
        members += b"\\x%02x-\\x%02x" % (low[0], max(low, high)[0])  # of a range that falls, its begin
    if not members:
        return (b"." if negated else _NEVER), at + 1
    return b"[" + b"^" * negated + members + b"]", at + 1


def _character(pattern: bytes, at: int) -> tuple[bytes, int]:
    at += pattern[at : at + 1] == b"\\" and at + 1 < len(pattern)
    return pattern[at : at + 1], at + 1


def _without_blanks(line: bytes) -> bytes:
    """Without the blanks at its end, but for one behind a backslash."""
    bare = line.rstrip(b" ")
    n_slashes = len(bare) - len(bare.rstrip(b"\\"))
    return bare + b" " if n_slashes % 2 and len(bare) < len(line) else bare
