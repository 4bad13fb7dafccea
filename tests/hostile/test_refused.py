"""Every bad input of the tables is refused: by its typed error, one line of four parts, and nothing is left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evidence import record
from tests.hostile.case import Case, refusal
from tests.hostile.configs import CASES as CONFIGS
from tests.hostile.folders import CASES as FOLDERS
from tests.hostile.incidents import CASES as INCIDENTS
from tests.hostile.plugins import CASES as PLUGINS
from tests.hostile.records import CASES as RECORDS
from tests.hostile.squad import CASES as SQUAD
from tests.hostile.text import CASES as TEXT
from tests.hostile.tokenizers import CASES as TOKENIZERS
from tests.hostile.tokens import CASES as TOKENS

CASES = [*SQUAD, *TEXT, *RECORDS, *TOKENS, *TOKENIZERS, *FOLDERS, *INCIDENTS, *CONFIGS, *PLUGINS]
LONGEST = 2000  # characters of a message; what came may be large, what is shown of it is not


@pytest.fixture(scope="module")
def refused() -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    record("bad_inputs", tried=len(CASES), refused=len(names))


@pytest.mark.timeout(60 if "asan" in os.environ.get("LD_PRELOAD", "") else 10)  # a sanitizer takes its time
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused(
    case: Case, refused: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = case.make(tmp_path)
    capsys.readouterr()
    ended = refusal(words, tmp_path, monkeypatch, capsys)
    error = ended.raised
    assert type(error) is case.error, ended.err
    assert case.who in error.who
    for came in [case.came] if isinstance(case.came, str) else case.came:
        assert came in error.came
    assert case.expected in error.expected
    assert case.todo in error.todo
    assert ended.err == f"cllm: {error}\n"
    assert ended.err[:-1].isprintable() and len(ended.err) < LONGEST
    assert (ended.code, ended.out) == (case.error.exit_code, "")
    assert not ended.changed
    refused.append(case.name)


def test_there_are_many_and_each_has_its_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 150
    assert all(part for case in CASES for part in (case.who, case.came, case.expected, case.todo))
