"""Preparation: what comes out is what went in, all of it or nothing, on a full disk and in bounded memory too."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.data.prepare import prepare
from cllm.data.spool import Spool
from cllm.data.tokenfile import TokenFile
from cllm.data.tokenizerfile import load_tokenizer
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.errors import DataError, TokenizerError
from cllm.hooks.protocols import Document
from tests.data.helpers import Texts, shared
from tests.data.squad_shape import N_ARTICLES, N_SEGMENTS, write_squad_shape

TEXTS = Texts(["one. ", "", ("two, ", "in pie", "ces. "), "three. ", "four. ", ("", "five. ")])


def documents_of(path: Path) -> list[str]:
    file = TokenFile.open(path)
    file.verify()
    tokenizer = load_tokenizer(path.with_name("tokenizer.json"))
    return [tokenizer.decode(part) for part in np.split(file.tokens, file.document_starts[1:].tolist())]


@pytest.mark.parametrize(
    "tokenizer", [ByteTokenizer, CharTokenizer, ByteTokenizer(), CharTokenizer("abcdefghinoprstuvwz,. ")]
)
def test_documents_come_out_as_they_went_in(tmp_path: Path, tokenizer: type[ByteTokenizer]) -> None:
    report = prepare(TEXTS, tokenizer, tmp_path / "out", validation=0.4)
    train, held_out = (
        documents_of(tmp_path / "out/train.tokens"),
        documents_of(tmp_path / "out/validation.tokens"),
    )
    assert sorted(train + held_out) == sorted(["one. ", "two, in pieces. ", "three. ", "four. ", "five. "])
    assert len(held_out) == 2
    assert (report.n_documents, report.n_tokens, report.n_characters) == (5, 40, 40)
    assert report.n_train_tokens == len("".join(train)) and report.n_validation_tokens == len("".join(held_out))
    assert json.loads((tmp_path / "out/prepare.json").read_text())["source_digest"] == report.source_digest
    names = ["prepare.json", "tokenizer.json", "train.tokens", "validation.tokens"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@given(
    texts=st.lists(st.text(st.characters(codec="utf-8")), max_size=8),
    validation=st.sampled_from([0.0, 0.1, 0.7]),
)
@settings(deadline=None, max_examples=25)
def test_any_texts(texts: list[str], validation: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("prepare") / "out"
    filled = [text for text in texts if text]
    if not filled:
        with pytest.raises(DataError, match="no text"):
            prepare(Texts(texts), ByteTokenizer, out)
        assert not out.exists()
        return
    report = prepare(Texts(texts), ByteTokenizer, out, validation)
    parts = [path for path in (out / "train.tokens", out / "validation.tokens") if path.exists()]
    data = b"".join(TokenFile.open(path).tokens.tobytes() for path in parts)
    assert sorted(data) == sorted("".join(texts).encode()) and report.n_tokens == len(data)


def test_a_single_document_is_cut_by_position(tmp_path: Path) -> None:
    report = prepare(Texts(["0123456789" * 10]), CharTokenizer, tmp_path / "out")
    assert (report.n_train_tokens, report.n_validation_tokens) == (90, 10)
    assert documents_of(tmp_path / "out/validation.tokens") == ["0123456789"]


def test_no_validation_part(tmp_path: Path) -> None:
    report = prepare(TEXTS, ByteTokenizer, tmp_path / "out", validation=0)
    assert report.n_validation_tokens == 0 and not (tmp_path / "out/validation.tokens").exists()
    assert "".join(documents_of(tmp_path / "out/train.tokens")) == "one. two, in pieces. three. four. five. "
    with pytest.raises(DataError, match="0 <= validation < 1"):
        prepare(TEXTS, ByteTokenizer, tmp_path / "other", validation=1)


def test_source_digest_is_of_texts_and_boundaries_not_of_pieces(tmp_path: Path) -> None:
    def digest(*texts: str | tuple[str, ...]) -> str:
        name = str(len(list(tmp_path.iterdir())))
        return prepare(Texts(texts), ByteTokenizer, tmp_path / name).source_digest

    assert digest("ab", "c") == digest(("a", "b"), "c") == digest("ab", ("c",))
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("c", "ab")}) == 4


def test_unknown_character_is_placed_in_its_source(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"text 1, from character 3 on: character 'z' \(U\+007A\) at place 1 "):
        prepare(Texts(["abc", ("abc", "azb")]), CharTokenizer("abc"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("used", ["file", "folder", "link"])
def test_nothing_of_a_users_is_overwritten(tmp_path: Path, used: str) -> None:
    out = tmp_path / "out"
    if used == "file":
        out.write_text("mine")
    elif used == "folder":
        out.mkdir()
        (out / "mine").write_text("mine")
    else:
        out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is there already"):
        prepare(TEXTS, ByteTokenizer, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_will_do_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "a/b/c"):
        prepare(TEXTS, ByteTokenizer, out)
        assert (out / "train.tokens").exists()


class Breaking:
    def documents(self) -> Iterator[Document]:
        yield Document("some text", "here")
        raise DataError("breaking", "a broken record", "a whole one", "repair it")


def test_what_breaks_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a broken record"):
        prepare(Breaking(), ByteTokenizer, tmp_path / "out")
    assert not list(tmp_path.iterdir())


READ_ONLY = """
import os, sys
from pathlib import Path
from cllm.data.prepare import prepare
from cllm.data.tokenizers import ByteTokenizer
from cllm.errors import DataError
from tests.data.helpers import Texts
def write(folder):
    prepare(Texts(["some text"]), ByteTokenizer, Path(sys.argv[1], folder, "out"))
write("before")  # and so all is imported, which another user may not read
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
write("open")
try:
    write("closed")
except DataError as error:
    print(error)
"""


def test_read_only_folder_is_told() -> None:
    """By a user who is not root, for root may write anywhere; pytest's tmp_path is closed to other users."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name, mode in (("before", 0o755), ("open", 0o777), ("closed", 0o555)):
            Path(folder, name).mkdir()
            Path(folder, name).chmod(mode)
        told = python("-c", READ_ONLY, folder)
        assert re.search(r"closed.*Permission denied.*permission to read and write there", told, re.DOTALL), told
        assert Path(folder, "open", "out", "train.tokens").exists()
        assert not list(Path(folder, "closed").iterdir())


def test_read_only_file_system_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match=r"Read-only file system.*write to another folder"):
        prepare(TEXTS, ByteTokenizer, tmp_path / "out")


def test_a_parent_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot use"):
        prepare(TEXTS, ByteTokenizer, tmp_path / "file" / "out")


FULL_DISK = """
import resource, signal, sys
from cllm.data.prepare import prepare
from cllm.data.tokenizers import ByteTokenizer
from cllm.errors import DataError
from tests.data.helpers import Texts
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    prepare(Texts(["some text " * 100_000]), ByteTokenizer, sys.argv[1])
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("n_bytes", [0, 10, 100_000, 950_000])
def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path, n_bytes: int) -> None:
    run = python("-c", FULL_DISK, str(tmp_path / "out"), str(n_bytes))
    assert f"prepare: cannot use {tmp_path / 'out'}: File too large" in run
    assert not list(tmp_path.iterdir())


def test_spool_gives_back_any_ranges(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 300)
    lengths = [1 + number % 3 for number in range(10_000)]
    for number, length in enumerate(lengths):
        spool.add(np.full(length, number % 300), begins=True)
    ranges = spool.documents()
    assert (ranges[:, 1] - ranges[:, 0]).tolist() == lengths and ranges[-1, 1] == spool.n_tokens == sum(lengths)
    odd = ranges[1::2]
    tokens = np.concatenate(list(spool.tokens(odd)))
    assert tokens.tolist() == [n % 300 for n in range(1, 10_000, 2) for _ in range(lengths[n])]
    spool.close()
    assert not list(tmp_path.iterdir())


PREPARE_SQUAD = """
import json, sys
from dataclasses import asdict
from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.data.prepare import prepare
from cllm.data.tokenizers import ByteTokenizer
report = prepare(SquadDataset(SquadConfig(sys.argv[1])), ByteTokenizer, sys.argv[2])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps(asdict(report) | {"peak": int(peak.split()[1]) * 1024}))
"""


@pytest.mark.slow
def test_squad_v2_shape_in_bounded_memory(tmp_path: Path) -> None:
    n_characters = write_squad_shape(tmp_path / "train.json")
    assert (tmp_path / "train.json").stat().st_size > 40_000_000
    report = json.loads(python("-c", PREPARE_SQUAD, str(tmp_path / "train.json"), str(tmp_path / "out")))
    assert report["n_segments"] == N_SEGMENTS == 236_617
    assert (report["n_documents"], report["n_context_characters"]) == (N_ARTICLES, n_characters)
    assert report["peak"] <= 256 << 20


def test_xquad_gives_the_known_counts(tmp_path: Path) -> None:
    report = prepare(SquadDataset(SquadConfig(str(shared("xquad.en.json")))), ByteTokenizer, tmp_path / "out")
    assert (report.n_segments, report.n_context_characters, report.n_documents) == (2_668, 188_362, 48)
    assert (report.n_train_tokens, report.n_validation_tokens) == (261_974, 34_254)


def python(*arguments: str) -> str:
    """Run Python in a process of its own, from the project's root; what it prints."""
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=root, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout
