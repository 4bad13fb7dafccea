"""Markdown: whole files as documents, their front matter left out, if it is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm.builtin.markdown import MarkdownConfig, MarkdownDataset, without_front_matter
from cllm.errors import DataError
from tests.data.helpers import whole_texts


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("---\na: b\n---\n\n# Title\n", "# Title\n"),
        ("---\r\na: b\r\n---\r\n\r\n \t\r\n# Title\r\n", "# Title\r\n"),
        ("---  \n--- \nx", "x"),
        ("---\na\n----\n---\nx", "x"),
        ("---\na: b\n---", ""),
        ("# Title\n---\na\n---\n", "# Title\n---\na\n---\n"),
        ("---\n\nA rule, and nothing more.\n", "---\n\nA rule, and nothing more.\n"),
        ("\n---\na\n---\n", "\n---\na\n---\n"),
        ("--- x\n---\n", "--- x\n---\n"),
    ],
)
def test_front_matter_is_what_two_lines_enclose_at_the_very_beginning(text: str, left: str) -> None:
    assert without_front_matter(text) == left


def read(source: Path, front_matter: bool = False) -> list[str]:
    return whole_texts(MarkdownDataset(MarkdownConfig(source=str(source), front_matter=front_matter)))


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("---\nx: 1\n---\nB " + "b" * (3 << 20), newline="")
    (tmp_path / "a.markdown").write_text("A")
    (tmp_path / "empty.md").write_text("---\nx: 1\n---\n")
    (tmp_path / "a.txt").write_text("no")
    assert read(tmp_path) == ["A", "B " + "b" * (3 << 20)]
    assert [text[:5] for text in read(tmp_path, front_matter=True)] == ["A", "---\nx", "---\nx"]


def test_a_file_that_is_named_must_have_more_than_front_matter(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\nx: 1\n---\n")
    with pytest.raises(DataError, match=r"a\.md is empty"):
        read(tmp_path / "a.md")
    with pytest.raises(DataError, match=r"nothing but empty files in .*"):
        read(tmp_path)
    (tmp_path / "a.md").rename(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"no files named \*\.md or \*\.markdown in"):
        read(tmp_path)
