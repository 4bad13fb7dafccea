"""The ledger: a chain that shows every alteration, and that a resumed run continues as if nothing had been."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cllm.errors import RunFolderError
from cllm.jsonl import cut_from
from cllm.ledger import Ledger, Record, read

STEPS = (0, 100, 200, 300, 400)


def fill(path: Path, steps: tuple[int, ...] = STEPS) -> Path:
    ledger = Ledger(path)
    for step in steps:
        ledger.append(Record(step, step + 1, f"digest of {step}"))
    ledger.close()
    return path


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    path = fill(tmp_path / "ledger.jsonl")
    assert read(path) == [Record(step, step + 1, f"digest of {step}") for step in STEPS]


def test_every_chain_covers_its_record_and_all_before(tmp_path: Path) -> None:
    before = ""
    for line in fill(tmp_path / "ledger.jsonl").read_bytes().splitlines():
        content = json.loads(line)
        chain = content.pop("chain")
        text = before + json.dumps(content, sort_keys=True)
        assert chain == hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
        before = chain


@pytest.mark.parametrize("n_lost", [1, 10, 300, 1000])
@pytest.mark.parametrize("resumed", [0, 100, 300])
def test_a_killed_and_resumed_run_has_the_ledger_of_an_undisturbed_one(
    tmp_path: Path, resumed: int, n_lost: int
) -> None:
    undisturbed = fill(tmp_path / "undisturbed.jsonl").read_bytes()
    path = tmp_path / "ledger.jsonl"
    first = undisturbed.splitlines(keepends=True)[: STEPS.index(resumed) + 1]
    path.write_bytes(max(b"".join(first), undisturbed[:-n_lost], key=len))
    cut_from(path, resumed + 2)
    fill(path, STEPS[STEPS.index(resumed) + 1 :])
    assert path.read_bytes() == undisturbed


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = fill(tmp_path / "ledger.jsonl")
    path.write_bytes(path.read_bytes()[:-1])
    assert [record.step for record in read(path)] == [0, 100, 200, 300]
    fill(path, (400,))
    assert [record.step for record in read(path)] == list(STEPS)


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize(("before", "after"), [(b"digest of", b"digest 0f"), (b'"step": ', b'"step":')])
def test_an_altered_line_is_named(tmp_path: Path, number: int, before: bytes, after: bytes) -> None:
    path = fill(tmp_path / "ledger.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(before, after)
    path.write_bytes(b"".join(lines))
    with pytest.raises(RunFolderError, match=f"line {number} of .* is not what was written"):
        read(path)
    with pytest.raises(RunFolderError, match=f"line {number} of"):
        Ledger(path)


@pytest.mark.parametrize("dropped", range(4))
def test_a_missing_line_is_noticed(tmp_path: Path, dropped: int) -> None:
    path = fill(tmp_path / "ledger.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[dropped]
    path.write_bytes(b"".join(lines))
    with pytest.raises(RunFolderError, match=f"line {dropped + 1} of"):
        read(path)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"7", b"\xff", b"[" * 100_000, b'{"step": "0"}'])
def test_foreign_lines_are_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(RunFolderError, match="line 1 of"):
        read(path)


def test_batches_ascend_though_steps_need_not(tmp_path: Path) -> None:
    path = fill(tmp_path / "ledger.jsonl")
    ledger = Ledger(path)
    ledger.append(Record(300, 402, event="rewind", more={"reasons": ["spike: high"]}))
    with pytest.raises(RunFolderError, match="a record after 401 batches, behind one after 402"):
        ledger.append(Record(400, 401, ""))
    ledger.close()
    last = read(path)[-1]
    assert (last.step, last.event, last.digest, last.more) == (300, "rewind", None, {"reasons": ["spike: high"]})


def test_the_plugins_are_said_once_and_again_where_they_change(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for step, version in ((0, "1.0"), (3, "1.0"), (5, "1.1"), (7, "1.1")):
        ledger = Ledger(path)
        ledger.begin(step, step, {"builtin": version})
        ledger.close()
    assert [(record.step, record.more["plugins"]) for record in read(path)] == [
        (0, {"builtin": "1.0"}), (5, {"builtin": "1.1"}),
    ]


def test_no_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert read(tmp_path / "ledger.jsonl") == []
