"""Lines of files: cut at line ends alone wherever pieces end, counted, and none longer than memory shall hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cllm.data import records, utf8
from cllm.data.records import Lines
from cllm.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines"


@given(st.lists(st.text(st.sampled_from("ab\r\u2028\x0bé"), max_size=9), max_size=6), st.integers(4, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_lines_in_any_pieces(path: Path, texts: list[str], piece: int) -> None:
    path.write_bytes("\n".join(texts).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "read_utf8", lambda path, who: utf8.read_utf8(path, who, piece))
        lines = Lines(path, "test")
        numbered = [(lines.number, line) for line in lines]
    wanted = [f"{text}\n" for text in texts[:-1]] + [text for text in texts[-1:] if text]
    assert numbered == list(enumerate(wanted, 1))


def test_a_record_that_is_too_long_is_told_by_its_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_CHARACTERS", 10)
    path.write_text(f"{'a' * 9}\n{'b' * 9}\n{'c' * 11}")
    lines = Lines(path, "test")
    with pytest.raises(DataError, match="lines: line 3: a record of more than"):
        for _ in lines:
            lines.begin_record()
    with pytest.raises(DataError, match="lines: line 2: a record of more than"):
        list(Lines(path, "test"))  # lines of one record


def test_what_is_not_there_is_told_with_what_is(path: Path) -> None:
    error = Lines(path, "test").no_field("tetx", (f"name {n}" for n in range(10**9)), "field")
    assert "no field 'tetx', but 'name 0', 'name 1'" in str(error) and len(str(error)) < 2000
    assert 'did you mean "text"?' in str(Lines(path, "test").no_field("tetx", ["text"], "field"))
