"""The whole way: prepared and trained by the command line, the same bits again, memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from cllm.cli import main
from cllm.hooks.manager import build_manager

SHAKESPEARE = Path(__file__).resolve().parents[4] / "shared" / "data" / "tinyshakespeare.txt"


def speeches() -> list[str]:
    """Of Shakespeare, where the file lies beside the clone, or else as many that are made."""
    if SHAKESPEARE.exists():
        return SHAKESPEARE.read_text(encoding="utf-8").split("\n\n")
    return [f"Speaker {number % 7}:\nThis is the speech {number}, of {number * number}." for number in range(7000)]


@pytest.fixture
def saved(folder: Path) -> Path:
    texts = speeches()
    parts = {"train": texts[:-200], "test": texts[-200:]}
    splits = {name: datasets.Dataset.from_dict({"text": part}) for name, part in parts.items()}
    datasets.DatasetDict(splits).save_to_disk("saved")
    return folder


def prepare(out: str, *words: str) -> dict[str, bytes]:
    assert main(["prepare", "hf.dataset", *words, "--set", 'end="\\n\\n"', "--out", out]) == 0
    return {path.name: path.read_bytes() for path in Path(out).iterdir() if path.is_file()}


def test_the_same_files_again_with_other_threads_and_from_other_files(saved: Path) -> None:
    one = prepare("one", "saved", "--validation-source", "saved/test", "--threads", "1")
    assert one == prepare("two", "saved/train", "--validation-source", "saved/test", "--threads", "4")
    for name, split in datasets.load_from_disk("saved").items():
        split.to_json(f"{name}.jsonl")
    assert one == prepare("three", "train.jsonl", "--validation-source", "test.jsonl", "--set", "builder=json")


def test_duplicates_and_mixtures(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare("one", "saved/test", "saved/test", "--dedup")
    n_texts = len(set(speeches()[-200:]))
    assert f"{n_texts} documents: " in (said := capsys.readouterr().out)
    assert f"{400 - n_texts} duplicates left out" in said
    prepare("two", "saved/train", "saved/test", "--weights", "3,1")
    assert "a mixture of 2 parts with 75.0%, 25.0% of the samples" in capsys.readouterr().out


RUN = """
name = "run"
[model]
preset = "tiny"
n_layer = 1
block_size = 16
[data]
loader = "hf.dataset"
source = "saved"
[data.options]
split = "test"
[train]
batch_size = 8
steps = 3
eval_batches = 1
[schedule]
name = "constant"  # whatever the number of steps
warmup_steps = 1
"""


def test_a_run_has_the_same_bits_at_any_number_of_threads_and_after_a_resume(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run.toml").write_text(RUN)
    digests = []
    for n_threads, out in ((1, "one"), (4, "four")):
        assert main(["train", "run.toml", "--threads", str(n_threads), "--out", out, "--set", "train.steps=5"]) == 0
        capsys.readouterr()
        assert main(["digest", out]) == 0
        digests.append(capsys.readouterr().out)
    assert main(["train", "run.toml", "--out", "cut"]) == 0
    (saved / "elsewhere").mkdir()
    monkeypatch.chdir(saved / "elsewhere")
    assert main(["train", "--resume", "../cut", "--set", "train.steps=5"]) == 0
    capsys.readouterr()
    assert main(["digest", "../cut"]) == 0
    assert digests == [capsys.readouterr().out] * 2


def test_a_run_is_not_resumed_with_other_text(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text(RUN)
    assert main(["train", "run.toml", "--out", "run"]) == 0
    datasets.Dataset.from_dict({"text": speeches()[:100]}).save_to_disk("other")
    (saved / "saved/test").rename("before")
    (saved / "other").rename("saved/test")
    assert main(["train", "--resume", "run", "--set", "train.steps=5"]) == 1
    assert "text" in capsys.readouterr().err


def test_they_are_listed_with_their_options() -> None:
    rows = {row.name: row for row in build_manager().list()}
    assert rows["hf"].provides == ("dataset hf.dataset", "tokenizer hf.tokenizer")


MEASURED = """
import sys
import pyarrow
from cllm_hf.dataset import made
from cllm_hf.options import DatasetConfig
def own():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
n = process = tables = 0
for n, _ in enumerate(made(DatasetConfig(source=sys.argv[1], builder=sys.argv[2] or None)).documents(), 1):
    if n % 1000 == 0:
        process, tables = max(process, own()), max(tables, pyarrow.total_allocated_bytes() >> 10)
print(n, tables if sys.argv[2] == "parquet" else process)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc, where the size of a process stands")
@pytest.mark.parametrize("builder", ["json", "parquet", ""])
def test_memory_does_not_grow_with_the_data(folder: Path, builder: str) -> None:
    """Not counted are pages of mapped files, which the system takes back, and, for Parquet, what Arrow keeps free."""
    peaks = []
    for n_rows in (40_000, 120_000):
        source = str(n_rows)
        columns = {"text": [f"{row} " + "x" * 1000 for row in range(n_rows)], "other": ["y" * 1000] * n_rows}
        rows = datasets.Dataset.from_dict(columns)
        if builder:
            getattr(rows, f"to_{builder}")(source, batch_size=5000)
        else:
            rows.save_to_disk(source)
        words = [sys.executable, "-c", MEASURED, source, builder]
        n, peak = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        assert int(n) == n_rows
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 40_000  # kB, of 160 MB more
