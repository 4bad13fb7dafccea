"""The bench: rows for every thread count, predictions marked as such, a picture; times are never asserted."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cllm.config import load_config
from cllm.errors import DataError
from cllm.profiling.bench import Measured, Worker, thread_counts
from cllm.profiling.chart import chart
from tests.test_cli import SMALL, cllm


def test_the_command_measures_and_predicts(tmp_path: Path) -> None:
    words = ["bench", "--preset", "tiny", "--threads", "1", "2", "--rounds", "1", "--seconds", "0.01", *SMALL]
    done = cllm(*words, "--json", "--chart", "scaling.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["threads"], row["predicted"]) for row in rows] == [(1, False), (2, False), (4, True), (8, True)]
    assert all(row["tokens_per_second"] > 0 for row in rows)
    assert rows[0]["speedup"] == rows[0]["efficiency"] == 1.0
    assert all((row["memory_bytes"] is None) == row["predicted"] for row in rows)
    assert ElementTree.fromstring((tmp_path / "scaling.svg").read_text()).tag.endswith("svg")


def test_dtypes_are_measured_beside_one_another(tmp_path: Path) -> None:
    words = ["bench", "--preset", "tiny", "--threads", "1", "--rounds", "1", "--seconds", "0.01", *SMALL]
    done = cllm(*words, "--dtype", "float32", "bfloat16", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = [row["config"] for row in json.loads(done.stdout) if not row["predicted"]]
    assert measured == ["tiny float32", "tiny bfloat16"]


def test_a_config_that_cannot_be_assembled_is_an_error_here_and_not_in_the_worker() -> None:
    config = load_config(None, ["data.path=no/such/book.txt"])
    with Worker(config, 1) as worker, pytest.raises(DataError, match="no/such/book"):
        worker.steps(1)


def test_one_thread_is_always_measured_because_speed_ups_refer_to_it() -> None:
    assert thread_counts([4, 2]) == [1, 2, 4]
    assert thread_counts(None)[0] == 1


def test_the_picture_has_a_mark_for_every_row_and_dashes_what_is_predicted() -> None:
    rows = [
        Measured("a<b", 1, 10.0, 0.5, 1.0, 1.0, 100), Measured("a<b", 2, 19.0, 0.5, 1.9, 1.8, 100),
        Measured("a<b", 8, 60.0, None, 6.0, 6.0, None, predicted=True),
    ]
    picture = chart(rows)
    assert picture.count("<circle") == 3
    assert picture.count("stroke-dasharray=\"6 5\"") == 1
    assert "a&lt;b" in picture
