"""JSON Lines: a document a line, from a field or a template; what Python's json lets pass is refused here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cllm.builtin.jsonl import JsonlConfig, JsonlDataset
from cllm.errors import DataError
from tests.data.helpers import whole_texts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


def read(path: Path, **options: Any) -> list[str]:
    return whole_texts(JsonlDataset(JsonlConfig(source=str(path), **options)))


def test_a_field_or_a_template_and_what_stands_behind(path: Path) -> None:
    path.write_text('{"text": "one", "n": 1}\r\n\n \n{"a": [{"b": null}], "text": "tw\\u00f6\\n"}')
    assert read(path) == ["one\n", "twö\n\n"]
    assert read(path, end="") == ["one", "twö\n"]
    assert read(path, template="<{text}>", end="|") == ["<one>|", "<twö\n>|"]


def test_objects_without_text_are_passed_over(path: Path) -> None:
    path.write_text('{"text": "", "t": ""}\n{"text": "a", "t": ""}\n')
    assert read(path) == ["a\n"]
    with pytest.raises(DataError, match="no text in"):
        read(path, field="t")


def test_the_files_of_a_folder_by_their_suffix(tmp_path: Path) -> None:
    for name in ("a10.jsonl", "a9.jsonl", "b.NDJSON", "b.json", "README"):
        (tmp_path / name).write_text(json.dumps({"text": name}))
    assert read(tmp_path, end="") == ["a9.jsonl", "a10.jsonl", "b.NDJSON"]


@given(st.lists(st.fixed_dictionaries({"text": st.text(st.characters(codec="utf-8"), min_size=1)}), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_in_either_spelling(path: Path, records: list[dict[str, str]]) -> None:
    for ascii_alone in (True, False):
        path.write_text("\n".join(json.dumps(one, ensure_ascii=ascii_alone) for one in records), newline="")
        assert read(path, end="") == [one["text"] for one in records]


def test_a_place_is_the_line_of_the_file(path: Path) -> None:
    path.write_text('{"text": "a"}\n\n{"text": "b"}\n')
    documents = list(JsonlDataset(JsonlConfig(source=str(path))).documents())
    assert [one.source for one in documents] == [f"{path}: line 1", f"{path}: line 3"]
