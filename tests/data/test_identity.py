"""The digest of a run's data: of the text, its division and its order, and of no path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cllm.config import DataConfig, MixturePart
from cllm.data.prepare import prepare
from cllm.data.source import open_data
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from tests.data.helpers import KINDS, Texts

TEXT = "To be, or not to be: that is the question.\n" * 20


def digest(cache: Path, **config: Any) -> str:
    return open_data(DataConfig(**config), KINDS, cache).digest


def test_no_path_enters_it(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(TEXT)
    prepare(Texts([TEXT]), ByteTokenizer, tmp_path / "out", 0.1)
    found = {digest(tmp_path / "cache", path=str(tmp_path / name)) for name in ("a.txt", "b.txt", "out")}
    assert len(found) == 1


def test_text_division_and_parts_enter_it(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    found = []
    for content, share in ((TEXT, 0.1), (TEXT.replace("q", "Q"), 0.1), (TEXT, 0.2), (TEXT, 0.0)):
        text.write_text(content)
        found.append(digest(tmp_path / "cache", path=str(text), validation=share))
    for name, content in (("one", "one two three "), ("two", "four five six ")):
        prepare(Texts([content * 9]), ByteTokenizer, tmp_path / name)
    one, two = (MixturePart(path=str(tmp_path / name)) for name in ("one", "two"))
    found += [digest(tmp_path, mixture=parts) for parts in ([one, two], [two, one], [one])]
    assert len(set(found)) == len(found)


def test_the_tokenizer_has_a_digest_of_its_own(tmp_path: Path) -> None:
    for tokenizer in (ByteTokenizer, CharTokenizer):
        prepare(Texts([TEXT]), tokenizer, tmp_path / tokenizer.name, 0.1)
    opened = [open_data(DataConfig(path=str(tmp_path / name)), KINDS, tmp_path) for name in ("byte", "char")]
    assert [data.digest == opened[0].digest for data in opened] == [True, True]
    assert len({data.tokenizer_digest for data in opened}) == 2


def test_files_that_say_nothing_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    found = set()
    for change in (0, 1):
        tokens = np.arange(100, dtype="<u2")
        tokens[50] += change
        tokens.tofile(path)
        found.add(digest(tmp_path, path=str(path)))
    assert len(found) == 2
