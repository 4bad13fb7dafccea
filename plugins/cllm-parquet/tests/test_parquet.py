"""Parquet files as pyarrow writes them: what is read, in bounded memory, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cllm.cli import main
from cllm.errors import DataError
from cllm.hooks.manager import build_manager
from cllm.testing import check_dataset, check_import_budget
from pyarrow import parquet

from cllm_parquet.rows import ParquetConfig, ParquetDataset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


def write(path: Path, columns: dict[str, Any], **how: Any) -> Path:
    parquet.write_table(pa.table(columns), path, **how)
    return path


def read(path: Path, **options: Any) -> list[str]:
    return [one.text for one in ParquetDataset(ParquetConfig(source=str(path), **options)).documents()]


def test_a_column_or_a_template_and_what_stands_behind(path: Path) -> None:
    write(path, {"text": ["one", "", "twö"], "n": [1, 2, 3], "q": ["a", "b", "c"]})
    assert read(path) == ["one\n", "twö\n"]
    assert read(path, column="q", end="") == ["a", "b", "c"]
    assert read(path, template="{q}: {text}", end="|") == ["a: one|", "b: |", "c: twö|"]
    dataset = ParquetDataset(ParquetConfig(source=str(path), template="{q}: {text}", end="|", answers=["text"]))
    assert [d.text[a:b] for d in dataset.documents() for a, b in d.answers] == ["one|", "|", "twö|"]
    with pytest.raises(ValueError, match="answers has 'x'"):
        ParquetConfig(source=str(path), answers=["x"])


def test_it_keeps_to_what_is_asked_of_a_dataset_and_of_a_plugin(path: Path) -> None:
    write(path, {"text": ["one", "two", "three"]})
    broken = path.with_name("broken.parquet")
    broken.write_bytes(b"PAR1 or not")
    check_dataset(
        lambda: ParquetDataset(ParquetConfig(source=str(path))),
        bad={"broken": lambda: ParquetDataset(ParquetConfig(source=str(broken)))},
    )
    check_import_budget("cllm_parquet")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_rows_come_in_order_through_groups_of_any_size(path: Path, kind: pa.DataType, compression: str) -> None:
    texts = [f"text {number}" for number in range(1500)]
    write(path, {"text": pa.array(texts).cast(kind)}, row_group_size=400, compression=compression)
    assert read(path, end="") == texts
    last = list(ParquetDataset(ParquetConfig(source=str(path))).documents())[-1]
    assert last.source == f"{path}: row 1,500"


def test_the_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("a10.parquet", "a9.parquet", "b.pq"):
        write(tmp_path / name, {"text": [name]})
    (tmp_path / "README").write_text("no")
    assert read(tmp_path, end="") == ["a9.parquet", "a10.parquet", "b.pq"]


@pytest.mark.parametrize(
    ("columns", "options", "came"),
    [
        ({"txt": ["a"]}, {}, r"no columns 'text' among 'txt'; .*did you mean \"txt\""),
        ({"text": [1]}, {}, "column 'text' of type int64; expected a column of text"),
        ({"text": [["a"]]}, {}, "column 'text' of type list"),
        ({"text": ["a", None]}, {}, "row 2: 'text' is null"),
        ({"text": ["", ""]}, {}, "no text in"),
        ({"text": pa.array([b"\xff"]).view(pa.string())}, {}, "utf-8"),
    ],
)
def test_what_is_no_text_is_refused(path: Path, columns: dict[str, Any], options: dict[str, Any], came: str) -> None:
    with pytest.raises(DataError, match=came):
        read(write(path, columns), **options)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"text\n" * 100])
def test_what_is_no_parquet_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"parquet\.rows: .*a\.parquet"):
        read(path)
    with pytest.raises(DataError, match="No such file"):
        read(path.with_name("gone.parquet"))


def test_a_file_that_was_cut_or_altered_is_read_or_refused(path: Path) -> None:
    whole = write(path, {"text": [f"text {number}" for number in range(50)]}).read_bytes()
    n_refused = 0
    for place in range(0, len(whole), 7):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            path.write_bytes(data)
            try:
                read(path)
            except DataError:
                n_refused += 1
    assert n_refused > len(whole) // 7


MEASURED = """
import sys
from cllm_parquet.rows import ParquetConfig, ParquetDataset
n = sum(1 for _ in ParquetDataset(ParquetConfig(source=sys.argv[1])).documents())
print(n, next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc, where the size of a process stands")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for n_groups in (4, 40):
        schema = pa.schema({"text": pa.string(), "other": pa.string()})
        with parquet.ParquetWriter(tmp_path / "a.parquet", schema, compression="none") as writer:
            for group in range(n_groups):
                texts = [f"{group} {row} " + "x" * 2000 for row in range(1000)]
                writer.write_table(pa.table({"text": texts, "other": texts}))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(done[0]) == 1000 * n_groups
        peaks.append(int(done[1]))
    assert peaks[1] - peaks[0] < 12_000  # kB, of 72 MB more


def test_it_is_prepared_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.parquet", {"q": ["one", "two", "one"], "a": ["1", "2", "1"]})
    words = ["prepare", "parquet.rows", "a.parquet", "--set", "template={q} is {a}.", "--dedup", "--out", "out"]
    assert main(words) == 0
    assert "2 documents: 18 tokens to train on, 2 to validate, in out\n1 duplicate left out" in capsys.readouterr().out
    assert main(["prepare", "parquet.rows", "a.parquet", "--set", "template=q", "--out", "other"]) == 2
    assert "template = 'q' names no column" in capsys.readouterr().err
    rows = {row.name: row for row in build_manager().list()}
    assert rows["parquet"].provides == ("dataset parquet.rows",)
