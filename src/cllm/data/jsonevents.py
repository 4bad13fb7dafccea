"""Reads a JSON file as a stream of events, in bounded memory and with an error where it is not sound.

This is not a general JSON reader: it builds nothing. A caller walks the events with `members`, `items`,
`string` and `skip`, and keeps only what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ijson  # type: ignore[import-untyped]

from cllm.data.utf8 import read_utf8
from cllm.errors import DataError

# The longest string or number. The parser holds one of them whole, and reads it again with each piece that
# comes, so that its time grows with the square of the length: 1 s at this one.
MAX_VALUE_BYTES = 4 << 20
MAX_DEPTH = 64  # of a value that is skipped; SQuAD itself is 8 deep

_FEED_BYTES = 1 << 16
_ESCAPE_BYTES = 12  # the longest escape: a surrogate pair such as \ud83d\ude00

# Text whose escapes are whole and sound. ijson's C backend turns a lone \ud800 into "?" and \ud800\u0041
# into some other character, without a word; so escapes are looked at before the parser sees them.
_SOUND = re.compile(
    rb"(?:[^\\]++"
    rb"|\\[^u]"
    rb"|\\u(?:[^dD]|[dD][0-7])"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)

Event = tuple[str, Any]


class JsonEvents:
    """The events of one file: ("start_map", None), ("map_key", "data"), ("string", "...") ...
    ("end_file", None).

    `who` is the loader's name, `place()` says in its own terms where it stands, and `form` which files it reads; all
    are for error messages.
    """

    def __init__(self, path: Path, who: str, place: Callable[[], str], form: str) -> None:
        self.path = path
        self.who = who
        self.place = place
        self.form = form
        self.n_bytes_read = 0
        self._texts = read_utf8(path, who, _FEED_BYTES)
        self._held_back = b""  # an escape that the last piece cut
        self._events: Any = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events)
        self._at = 0

    def peek(self) -> Event:
        """The next event, which stays the next one."""
        if self._at == len(self._events):
            self._fill()
        event: Event = self._events[self._at]
        return event

    def next(self) -> Event:
        """The next event, taken."""
        event = self.peek()
        self._at += 1
        return event

    def error(self, came: str, expected: str, todo: str = "repair the file or fetch it again") -> DataError:
        """A DataError that names the file, the place in the loader's terms and how far it was read."""
        where = f"{self.path}: {self.place()}, before byte {self.n_bytes_read:,}"
        return DataError(who=self.who, came=f"{where}: {came}", expected=expected, todo=todo)

    def misshapen(self, came: str, expected: str) -> DataError:
        """The error of sound JSON that has not the loader's form."""
        return self.error(came, expected, f"check that it is {self.form}")

    def _fill(self) -> None:
        """Parse on until there is an event; refuse a value of more than MAX_VALUE_BYTES."""
        self._events.clear()
        self._at = 0
        start = self.n_bytes_read
        for text in self._texts:
            self._feed(text.encode())
            if self._events:
                return
            if self.n_bytes_read - start > MAX_VALUE_BYTES:
                raise self.error(f"one value of more than {MAX_VALUE_BYTES >> 20} MiB", "shorter strings and numbers")
        self._close()

    def _feed(self, piece: bytes) -> None:
        self.n_bytes_read += len(piece)
        if b"\v" in piece or b"\f" in piece:  # ijson's C backend takes them for blanks, which no other reader does
            raise self.error("broken JSON (a vertical tab or a form feed)", "one whole JSON value")
        text = self._held_back + piece
        sound = _SOUND.match(text)
        end = sound.end() if sound else 0
        self._held_back = text[end:]
        if len(self._held_back) >= _ESCAPE_BYTES:
            raise self.error("half of a surrogate pair (\\ud800 to \\udfff)", "escapes that stand for characters")
        if end:  # ijson takes nothing for the end
            self._parse(lambda: self._parser.send(text[:end]))

    def _close(self) -> None:
        if not self.n_bytes_read:
            raise self.error("the file is empty", "a JSON value")
        n_bytes_read = self.n_bytes_read
        self._feed(b" " * _ESCAPE_BYTES)  # so that what is held back is judged
        self.n_bytes_read = n_bytes_read
        self._parse(self._parser.close)
        self._events.append(("end_file", None))

    def _parse(self, parse: Callable[[], object]) -> None:
        try:
            parse()
        # ijson's backends raise a JSONError of their own, but also ValueError, ArithmeticError and
        # SystemError (for a number of 5,000 digits): whatever it is, the input is at fault.
        except Exception as error:
            raise self.error(f"broken JSON ({_reason(error)})", "one whole JSON value") from None


def members(events: JsonEvents, name: str, keys: frozenset[str]) -> Iterator[str]:
    """Walk an object: yield each key of `keys`, whose value the caller reads then; skip the others.

    A key of `keys` that stands twice is an error: taking the first or the last would be a guess.
    """
    seen: set[str] = set()
    _expect(events, "start_map", name, "an object")
    while (event := events.next())[0] != "end_map":
        key = event[1]
        if key not in keys:
            skip(events)
            continue
        if key in seen:
            raise events.error(f'"{key}" stands twice in {name}', f'one "{key}"')
        seen.add(key)
        yield key


def items(events: JsonEvents, name: str) -> Iterator[int]:
    """Walk an array: yield the number of each item, from 0; the caller reads the item then."""
    _expect(events, "start_array", name, "an array")
    n = 0
    while events.peek()[0] != "end_array":
        yield n
        n += 1
    events.next()


def string(events: JsonEvents, name: str) -> str:
    """Read one string."""
    text: str = _expect(events, "string", name, "a string")
    return text


def boolean(events: JsonEvents, name: str) -> bool:
    """Read true or false."""
    value: bool = _expect(events, "boolean", name, "true or false")
    return value


def finish(events: JsonEvents) -> None:
    """Read on to the end of the file, where only white space may stand."""
    _expect(events, "end_file", "what follows", "the end of the file")


def skip(events: JsonEvents) -> None:
    """Read one value of any kind and forget it. Nesting beyond MAX_DEPTH is refused."""
    depth = 0
    while True:
        kind = events.next()[0]
        if kind == "start_map" or kind == "start_array":
            depth += 1
        elif kind == "end_map" or kind == "end_array":
            depth -= 1
        if depth == 0:
            return
        if depth > MAX_DEPTH:
            raise events.error(f"JSON nested more than {MAX_DEPTH} deep", "the shallow nesting of its format")


def _expect(events: JsonEvents, kind: str, name: str, expected: str) -> Any:
    found, value = events.next()
    if found != kind:
        raise events.misshapen(f"{name} is {_describe(found)}", expected)
    return value


def _describe(kind: str) -> str:
    return {"start_map": "an object", "start_array": "an array", "null": "null"}.get(kind, f"a {kind}")


def _reason(error: BaseException) -> str:
    while error.__cause__:  # a SystemError says nothing, what it came from does
        error = error.__cause__
    told = str(error).split("(right here)")[0]  # the parser draws an arrow, which points at nothing on one line
    return " ".join(told.split())[:160] or type(error).__name__
