"""Tables: rows as Python's csv writes them, of any dialect that differs in the delimiter; one limit for long texts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cllm.builtin.csv import CsvConfig, CsvDataset
from cllm.errors import DataError
from tests.data.helpers import whole_texts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


def read(path: Path, **options: Any) -> list[str]:
    return whole_texts(CsvDataset(CsvConfig(source=str(path), **options)))


def test_a_column_or_a_template_and_what_stands_behind(path: Path) -> None:
    path.write_text('id,text\n1,"one, ""1"""\n\n2,"two\nlines"\n3,\n')
    assert read(path) == ['one, "1"\n', "two\nlines\n"]
    assert read(path, column="id", end="") == ["1", "2", "3"]
    assert read(path, template="{id}: {text}", end="") == ['1: one, "1"', "2: two\nlines", "3: "]


@given(
    st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"))] * 2), min_size=1),
    st.sampled_from(",;\t| "), st.sampled_from(["\n", "\r\n"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_python_writes_is_read(path: Path, rows: list[tuple[str, str]], delimiter: str, ending: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
        writer.writerows([("a", "b"), *rows])
    wanted = [f"{a}|{b}" for a, b in rows]
    assert read(path, template="{a}|{b}", end="", delimiter=delimiter) == wanted


def test_a_long_text_is_read_and_the_limit_of_the_process_stays(path: Path) -> None:
    before = csv.field_size_limit()
    path.write_text(f"text\n{'a' * 3 * before}\n")
    assert len(read(path, end="")[0]) == 3 * before
    assert csv.field_size_limit() == before


def test_a_place_is_the_last_line_of_the_row(path: Path) -> None:
    path.write_text('text\n"a\nb"\nc\n')
    documents = list(CsvDataset(CsvConfig(source=str(path))).documents())
    assert [one.source for one in documents] == [f"{path}: line 3", f"{path}: line 4"]


def test_headers_may_differ_between_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\na,1\n")
    (tmp_path / "b.csv").write_text("n,text\n2,b\n")
    assert read(tmp_path, end="") == ["a", "b"]
    (tmp_path / "c.csv").write_text("n\n3\n")
    with pytest.raises(DataError, match=r"c.csv: line 1: no column 'text', but 'n'"):
        read(tmp_path)


def test_a_tsv_file_has_tabs_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\na\tb,1\n")
    (tmp_path / "b.TSV").write_text("n\ttext\n2\tc,d\n")
    assert read(tmp_path, end="") == ["a\tb", "c,d"]
    (tmp_path / "b.TSV").write_text("n;text\n2;e\n")
    assert read(tmp_path / "b.TSV", end="", delimiter=";") == ["e"]


def test_empty_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    (tmp_path / "b.csv").write_text("\n")
    assert read(tmp_path, end="") == ["a"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_a_header_with_another_delimiter_says_which(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / ("a.tsv" if delimiter == "," else "a.csv")
    path.write_text(f"id{delimiter}text\n1{delimiter}a\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.todo == f"set delimiter to {delimiter!r}, as the header has it"
    assert read(path, end="", delimiter=delimiter) == ["a"]
