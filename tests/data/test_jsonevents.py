"""Walking JSON: half surrogates found wherever pieces are cut, duplicates and depth refused, the rest left to ijson."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data import jsonevents
from cllm.data.jsonevents import JsonEvents, finish, items, members, skip, string
from cllm.errors import DataError


def events_of(tmp_path: Path, text: str | bytes) -> JsonEvents:
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return JsonEvents(tmp_path / "a.json", "test", lambda: "the file", "a test")


def read_strings(events: JsonEvents) -> list[str]:
    strings = [string(events, "an item") for _ in items(events, "the list")]
    finish(events)
    return strings


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(value=VALUES, ascii_only=st.booleans(), size=st.integers(1, 40))
@settings(deadline=None)
def test_any_sound_value_is_skipped_whole(
    value: object, ascii_only: bool, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = json.dumps([value, "after"], ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonevents, "_FEED_BYTES", size)
        events = events_of(tmp_path_factory.mktemp("json"), text)
        for number in items(events, "the list"):
            if number == 0:
                skip(events)
            else:
                assert string(events, "the end") == "after"
        finish(events)


@given(
    parts=st.lists(
        st.sampled_from(
            [
                "a",
                "é",
                "\\\\",
                '\\"',
                "\\n",
                "\\u00e9",
                "\\ud83d\\ude00",
                "\\uD83D\\uDE00",
                "\\ud7ff",
                "\\ue000",
            ]
        )
    ),
    lone=st.sampled_from(
        ["\\ud800", "\\uDFFF", "\\udc00\\ud800", "\\ud800\\u0041", "\\ud800\\\\", "\\ud800\\ud800\\udc00"]
    ),
    place=st.integers(0, 20),
    size=st.integers(1, 30),
)
@settings(deadline=None, max_examples=300)
def test_half_surrogates_are_found_wherever_they_are_cut(
    parts: list[str], lone: str, place: int, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonevents, "_FEED_BYTES", size)
        sound = '["' + "".join(parts) + '"]'
        assert read_strings(events_of(folder, sound)) == json.loads(sound)
        broken = '["' + "".join(parts[:place]) + lone + "".join(parts[place:]) + '"]'
        with pytest.raises(DataError, match="surrogate"):
            read_strings(events_of(folder, broken))


@pytest.mark.parametrize(
    "text",
    ["", " ", "[", '["a', '["a"', '["a"]]', '["a"] "b"', '["a",]', "['a']", "[NaN]", "[Infinity]", "[01]", '["\n"]',
     '["\\x"]', "// c\n[]", "[tru]", "[" + "9" * 5000 + "]", '{"a" "b"}', "[\v]", "\f[]",
     '["\f"]'],
)  # fmt: skip
def test_broken_json_is_a_data_error_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"a\.json: the file, before byte [\d,]+: (broken JSON|the file is empty)"):
        events = events_of(tmp_path, text)
        skip(events)
        finish(events)


def test_cause_of_a_backends_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4300 digits"):
        skip(events_of(tmp_path, "[" + "9" * 5000 + "]"))


def test_numbers_beyond_floats_are_skipped_like_others(tmp_path: Path) -> None:
    events = events_of(tmp_path, '{"a": 1e999, "b": -1e-999, "c": "here"}')
    assert [string(events, "c") for _ in members(events, "it", frozenset({"c"}))] == ["here"]


def test_a_key_that_is_read_may_not_stand_twice(tmp_path: Path) -> None:
    keys = frozenset({"a"})
    events = events_of(tmp_path, '{"a": "1", "b": 2, "b": 3, "a": "2"}')
    with pytest.raises(DataError, match='"a" stands twice in it'):
        for _ in members(events, "it", keys):
            string(events, "a")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused_and_shallow_is_not(tmp_path: Path, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    deepest = jsonevents.MAX_DEPTH
    skip(events_of(tmp_path, opening * deepest + "1" + closing * deepest))
    with pytest.raises(DataError, match="nested more than 64 deep"):
        skip(events_of(tmp_path, opening * (deepest + 1) + "1" + closing * (deepest + 1)))
    with pytest.raises(DataError, match="nested more than 64 deep"):
        skip(events_of(tmp_path, opening * 1_000_000))


def test_one_long_value_is_refused_before_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonevents, "MAX_VALUE_BYTES", 1 << 17)
    events = events_of(tmp_path, '["' + "x" * (1 << 20))
    with pytest.raises(DataError, match="one value of more than"):
        skip(events)
    assert events.n_bytes_read < 1 << 19
