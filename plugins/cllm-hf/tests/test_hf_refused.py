"""What cannot be read is refused with all four parts: rows that are no text, broken files, names that are none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import datasets
import msgspec
import pytest
from cllm.errors import DataError
from reading import read

from cllm_hf.options import DatasetConfig

LABELS = datasets.Features({"text": datasets.ClassLabel(names=["no", "yes"])})


@pytest.mark.parametrize(
    ("columns", "options", "came"),
    [
        ({"txt": ["a"]}, {}, r"no field 'text', but 'txt'; .*did you mean \"txt\""),
        ({"text": ["a"]}, {"field": "text.b"}, "row 1: 'text.b' has no 'b', for it is text; expected text"),
        ({"text": [{"b": "c"}]}, {"field": "text.x"}, "row 1: 'text.x' has no 'x', for it is a table of 'b'"),
        ({"text": [{"b": "c"}]}, {}, "row 1: 'text' is a table of 'b'"),
        ({"text": ["a", None]}, {}, "row 2: 'text' is null"),
        ({"text": [None, None]}, {}, "row 1: 'text' is null"),
        ({"text": [["a"], [None]]}, {}, "row 2: 'text' is null"),
        ({"text": [{"b": "c"}, None]}, {"field": "text.b"}, "row 2: 'text.b' "),
        ({"text": [1]}, {}, "row 1: 'text' is a number"),
        ({"text": [1.5]}, {}, "row 1: 'text' is a number"),
        ({"text": [True]}, {}, "row 1: 'text' is true or false"),
        ({"text": [b"a"]}, {}, "row 1: 'text' is bytes"),
        ({"text": ["", ""]}, {}, "no text in"),
        ({"text": []}, {}, r"a: .*; expected"),  # which the library itself cannot read again
    ],
)
def test_what_is_no_text(tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], came: str) -> None:
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "a")
    with pytest.raises(DataError, match=came):
        read(tmp_path / "a", **options)


def test_a_row_without_a_label(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": [1, -1]}, LABELS).save_to_disk(tmp_path / "a")
    with pytest.raises(DataError, match="row 2: 'text' is -1, no label of its 2"):
        read(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "content", "came"),
    [
        ("a.json", b'{"text": "a"', "a.json: .*; expected data that the library can read"),
        ("a.json", b"", "a.json"),
        ("a.json", b'{"text": "\xff"}', "a.json"),
        ("a.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "a.parquet"),
        ("a.arrow", b"\xff\xff\xff\xff" + b"\x7f" * 100, "a.arrow"),
        ("a.csv", b'text\n"a', "a.csv"),
        ("a.csv", b"text\n\n1\n", "row 1: 'text' is a number"),
        ("a.text", b"good until \xff", "a.text: 'utf-8' codec can't decode"),
    ],
)
def test_a_broken_file(tmp_path: Path, name: str, content: bytes, came: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=came):
        read(tmp_path / name, builder=name.partition(".")[2])


def test_an_arrow_file_that_was_cut_or_altered_is_read_or_refused(tmp_path: Path) -> None:
    texts = {"text": [f"text é {number}" for number in range(50)], "a": [{"b": ["x"] * (n % 3)} for n in range(50)]}
    datasets.Dataset.from_dict(texts).save_to_disk(tmp_path / "a")
    [path] = (tmp_path / "a").glob("*.arrow")
    whole, n_refused = path.read_bytes(), 0
    for place in range(0, len(whole), 7):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            path.write_bytes(data)
            for source, builder in ((path, "arrow"), (path.parent, None)):
                try:
                    read(source, builder=builder, template="{text} {a.b}")
                except DataError:
                    n_refused += 1
    assert n_refused > len(whole) // 7


@pytest.mark.parametrize(
    ("source", "options", "came"),
    [
        ("no/such/folder", {}, "no/such/folder, which is not there; expected a folder of save_to_disk, or a name"),
        ("https://example.org/a.json", {}, "https://example.org/a.json, which is not there"),
        ("json", {}, "json, a kind of files; expected a dataset's name"),
        ("pandas", {"online": True}, "pandas, a kind of files"),
        ("there#test", {}, "there#test, and there is on this disk; .*name a folder of save_to_disk, as in there/train"),
        ("there", {}, "there: .*; expected a folder that save_to_disk has written"),
        ("there", {"online": True}, "online for there, which is on this disk"),
        ("there/saved", {"split": "test"}, "split = 'test' for there/saved, a single dataset"),
        ("there/both", {"split": "tset"}, "no split 'tset'; expected one of test, held; did you mean \"test\""),
        ("there/both", {}, "no split 'train'; expected one of test, held; set split"),
        ("none.json", {"builder": "json"}, "none.json, which is not there"),
        ("pipe", {"builder": "json"}, "pipe, which is no plain file"),
        ("there", {"builder": "csv"}, r"no files named \*.csv or \*.tsv"),
    ],
)
def test_a_source_that_is_none(folder: Path, source: str, options: dict[str, Any], came: str) -> None:
    one = datasets.Dataset.from_dict({"text": ["a"]})
    one.save_to_disk(folder / "there" / "saved")
    datasets.DatasetDict({"test": one, "held": one}).save_to_disk(folder / "there" / "both")
    os.mkfifo("pipe")
    with pytest.raises(DataError, match=came):
        read(source, **options)


@pytest.mark.parametrize(
    ("options", "came"),
    [
        ({"builder": "pandas"}, "Invalid enum value 'pandas'"),
        ({"builder": "json", "online": True}, "builder reads local files, which have no online"),
        ({"builder": "json", "split": "test"}, "builder reads local files, which have no split"),
        ({"field": "a", "template": "{a}"}, "field and template exclude each other"),
        ({"answers": ["b"]}, "answers has 'b'"),
        ({"trust_remote_code": True}, "unknown field `trust_remote_code`"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], came: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=came):
        msgspec.convert({"source": "a", **options}, DatasetConfig)
