"""Bytes altered at random, always alike by one seed; what guides it are sound files, and words of the formats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any

# What parsers trip over: ends of numbers, of nesting, of encodings; words of the formats.
WORDS = [
    b"", b"\0", b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\3\4", b"\n", b"\r\n",
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"'", b"\\", b"\\u", b"\\ud800", b"\\ud83d\\ude00", b"#", b"=", b"==",
    b".",
    b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"0x10", b"1_0", b"9" * 25, b"9" * 5000, b"-1", b"0.5",
    b"[" * 2000, b'{"a":' * 1500, b"a." * 200, b'"name"', b'"data"', b'"title"', b'"shape"', b"[data]\n", b"[[x]]\n",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\0\0\0\0\0\0\0\x80", b"18446744073709551615", b"9223372036854775808",
    b"2024-02-31", b'{"non-finite float": "inf"}', b'{"non-finite float": 3}', b"\x1b[2J", b"/../", b"\\u0000",
]

# What stands where something else should: other kinds, ends of ranges, what has no place in a file or on a terminal.
VALUES: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 2**64, 10**30, 10**4000, -0.0, 1e308, "", "x", "\ud800", "\x1b[2J\n", "../../x",
    "inf",
    [], {}, [[]], [None], {"": 0}, {"non-finite float": "x"}, {"non-finite float": 3}, {"name": "char"},
]


def mutated(data: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """`data` after one to four alterations; `others` are files of which pieces may come. JSON may be so afterwards."""
    if chance.random() < 0.4 and (edited := _edited(data, chance)) is not None:
        return edited
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        begin = chance.randrange(len(data) + 1)
        end = min(len(data), begin + chance.choice((0, 0, 1, 1, 2, 4, 16, 200)))
        data = data[:begin] + _piece(data, begin, end, others, chance) + data[end:]
    return data


def _piece(data: bytes, begin: int, end: int, others: Sequence[bytes], chance: Random) -> bytes:
    match chance.randrange(6):
        case 0:
            return chance.choice(WORDS)
        case 1:
            return bytes(byte ^ (1 << chance.randrange(8)) for byte in data[begin:end])
        case 2:
            return chance.randbytes(end - begin)
        case 3:
            return data[begin:end] * chance.choice((2, 3, 50))
        case 4:
            other = chance.choice(others)
            place = chance.randrange(len(other) + 1)
            return other[place : place + chance.choice((1, 8, 64, 4096))]
        case _:
            return b""


def _edited(data: bytes, chance: Random) -> bytes | None:
    """A value of a JSON file, or of a line of one, made another, doubled or taken away; None where it is no JSON."""
    lines = data.split(b"\n") if data.endswith(b"}\n") and b"}\n{" in data else [data]
    number = chance.randrange(len(lines))
    try:
        content = json.loads(lines[number])
    except (ValueError, RecursionError):
        return None
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(content))
        if not places:
            return None
        table, key = chance.choice(places)
        match chance.randrange(4):
            case 0:
                del table[key]
            case 1 if isinstance(table, list):
                table += table[: chance.choice((1, 3, 1000))]
            case _:
                table[key] = deepcopy(chance.choice(VALUES))
    lines[number] = json.dumps(content).encode()
    return b"\n".join(lines)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(table or list, key or index) of everything in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
