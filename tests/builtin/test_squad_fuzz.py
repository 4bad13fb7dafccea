"""SQuAD files of any kind, sound or not, in pieces of any size: the text that an oracle finds, or refused as by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.builtin import squad
from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.data import jsonevents
from cllm.errors import DataError
from tests.builtin.squad_oracle import Pairs, Refused, read_whole, rendered
from tests.data.helpers import whole_texts
from tests.fuzzing import fuzzed

TEXTS = st.text(st.one_of(st.sampled_from('a "\\/\n\r\u2028é😀\0\x7f{}[],:'), st.characters(codec="utf-8")), max_size=5)
ANSWERS = st.fixed_dictionaries({"text": TEXTS}, optional={"answer_start": st.integers(0, 10**20)})
QUESTIONS = st.fixed_dictionaries(
    {"question": TEXTS},
    optional={"answers": st.lists(ANSWERS, max_size=2), "is_impossible": st.booleans(), "id": TEXTS},
)
PARAGRAPHS = st.fixed_dictionaries({"context": TEXTS, "qas": st.lists(QUESTIONS, max_size=3)})
ARTICLES = st.fixed_dictionaries({"title": TEXTS, "paragraphs": st.lists(PARAGRAPHS, max_size=3)})
FILES = st.fixed_dictionaries({"data": st.lists(ARTICLES, max_size=3)}, optional={"version": TEXTS})
OTHERS: list[Any] = [
    None, True, 1, -0.5, 1e300, 10**30, "", "x", [], {}, [{}], {"text": "t"}, [{"text": "t"}], [[1], 2], ["\ud800"],
    "\udc00",
]
# What is put into the bytes of a file: what JSON has, what it only seems to have, and what is no text at all.
SPLICES = [
    b"", b'"', b"\\", b"\\u", b"\\ud800", b"\\u0041", b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"01",
    b"1e999", b"-", b"1.", b"/**/", b"'", b" ", b"\n", b"\v", b"\f", b"\xc2\xa0", b"\xff", b"\0", b"\xef\xbb\xbf",
]


def objects(value: Any) -> Any:
    """Dicts as Pairs, which hold any keys in any order."""
    if isinstance(value, dict):
        return Pairs((key, objects(item)) for key, item in value.items())
    return [objects(item) for item in value] if isinstance(value, list) else value


def containers(value: Any) -> Iterator[Any]:
    """The objects and arrays in it, itself too."""
    if isinstance(value, list):
        yield value
        for item in value:
            yield from containers(item[1] if isinstance(value, Pairs) else item)


def disturb(value: Any, chance: Random) -> None:
    """Put something where nothing, or something else, should be; or take it away."""
    target = chance.choice(list(containers(value)))
    place, other = chance.randrange(len(target) + 1), objects(chance.choice(OTHERS))
    if isinstance(target, Pairs):
        keys = [key for key, _ in target] + ["title", "context", "data", "text", "x", ""]
        other = (chance.choice(keys), other)
    target[place : place + chance.randrange(2)] = [other] * chance.randrange(2)


def written(value: Any, chance: Random, ascii_only: bool) -> str:
    """Some JSON for it: keys in any order, blanks anywhere."""
    blank = chance.choice(["", "", "", " ", "\n", "\t\r "])
    if isinstance(value, Pairs):
        pairs = chance.sample(value, len(value))
        members = [f"{written(k, chance, ascii_only)}:{written(v, chance, ascii_only)}" for k, v in pairs]
        text = f"{{{','.join(members)}{blank}}}"
    elif isinstance(value, list):
        text = f"[{','.join(written(item, chance, ascii_only) for item in value)}{blank}]"
    else:
        # Half of a surrogate pair can only be written as an escape.
        text = json.dumps(value, ensure_ascii=ascii_only or "\\ud" in ascii(value))
    return f"{blank}{text}{blank}"


def spliced(data: bytes, chance: Random) -> bytes:
    begin = chance.randrange(len(data) + 1)
    return data[:begin] + chance.choice(SPLICES) + data[begin + chance.randrange(3) :]


@fuzzed(300, 5_000)
def test_any_file_gives_what_the_oracle_finds(
    length: settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"

    @length
    @given(
        file=FILES, n_disturbed=st.sampled_from([0, 0, 0, 1, 2]), n_spliced=st.sampled_from([0, 0, 0, 1, 2]),
        kept=st.one_of(st.just(1.0), st.floats(0.0, 1.0)), ascii_only=st.booleans(), size=st.integers(1, 50),
        seed=st.integers(0, 2**32),
    )
    def check(
        file: Any, n_disturbed: int, n_spliced: int, kept: float, ascii_only: bool, size: int, seed: int
    ) -> None:
        chance, value = Random(seed), objects(file)
        for _ in range(n_disturbed):
            disturb(value, chance)
        data = written(value, chance, ascii_only).encode()
        for _ in range(n_spliced):
            data = spliced(data, chance)
        path.write_bytes(data[: round(kept * len(data))])
        monkeypatch.setattr(jsonevents, "_FEED_BYTES", size)
        monkeypatch.setattr(squad, "_SPOOL_BYTES", size)
        monkeypatch.setattr(squad, "PIECE_CHARACTERS", size)
        agree(path)

    check()


def agree(path: Path) -> None:
    """The reader and the oracle find the same segments, or both refuse."""
    try:
        articles = read_whole(path.read_bytes())
    except Refused:
        with pytest.raises(DataError):
            list(SquadDataset(SquadConfig(str(path))).documents())
        return
    dataset = SquadDataset(SquadConfig(str(path)))
    assert whole_texts(dataset) == [rendered(segments) for segments in articles]
    contexts = [[text for kind, text in segments if kind == "context"] for segments in articles]
    assert [document.counts for document in dataset.documents() if not document.continues] == [
        {"segments": len(segments), "context_characters": len("".join(own))}
        for segments, own in zip(articles, contexts, strict=True)
    ]
