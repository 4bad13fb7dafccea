"""Documents through several threads: the order, the errors and the bytes of one thread, and few documents held."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.data import pipeline
from cllm.data.pipeline import in_order
from cllm.data.prepare import prepare
from cllm.data.tokenizers import CharTokenizer
from cllm.errors import DataError, TokenizerError
from cllm.hooks.protocols import Document
from tests.data.helpers import Texts, huggingface_tokenizers, shared


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "GROUP_CHARACTERS", 8)


def documents(n: int) -> Iterator[Document]:
    for number in range(n):
        yield Document("x" * (number % 5), str(number))


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_order_is_kept_whoever_is_quicker(n_threads: int) -> None:
    def slow(document: Document) -> int:
        time.sleep(0.002 * (int(document.source) % 7 == 0))
        return int(document.source) ** 2

    found = [(int(document.source), square) for document, square in in_order(documents(200), slow, n_threads)]
    assert found == [(number, number**2) for number in range(200)]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize(("broken", "refused"), [(50, 49), (50, 51), (50, 3), (0, 1)])
def test_the_first_error_is_raised_behind_what_came_before_it(n_threads: int, broken: int, refused: int) -> None:
    def reading() -> Iterator[Document]:
        yield from documents(broken)
        raise DataError("reader", f"record {broken}", "a whole one", "repair it")

    def encoding(document: Document) -> str:
        if int(document.source) == refused:
            raise TokenizerError("encoder", document.source, "another", "take it")
        return document.source

    taken = []
    with pytest.raises((DataError, TokenizerError), match=f"record {broken}|encoder: {refused}") as raised:
        for _, source in in_order(reading(), encoding, n_threads):
            taken.append(int(source))
    assert isinstance(raised.value, TokenizerError) == (refused < broken)
    if n_threads == 1 or refused >= broken:
        assert taken == list(range(min(broken, refused)))
    else:  # of the group in which it failed, none
        assert taken == list(range(len(taken))) and len(taken) <= refused


def test_few_documents_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "HELD_CHARACTERS", 100)
    n_read = 0

    def reading() -> Iterator[Document]:
        nonlocal n_read
        for number in range(500):
            n_read += 1
            yield Document("x" * 30, str(number))

    for number, _ in enumerate(in_order(reading(), lambda document: document.text, 8)):
        assert n_read - number <= 100 // 30 + 3
    assert n_read == 500


def test_whoever_stops_early_leaves_no_thread() -> None:
    results = in_order(documents(100), lambda document: document.text, 3)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cllm-encode")]


class InThreads(CharTokenizer):
    """One that may be called from several threads, and notes from which it was."""

    encodes_in_threads = True
    seen: ClassVar[set[str]] = set()

    def encode(self, text: str):  # type: ignore[no-untyped-def]
        self.seen.add(threading.current_thread().name)
        return super().encode(text)


def test_bytes_do_not_depend_on_threads(tmp_path: Path) -> None:
    texts = Texts([("abc" * n, "", "cab") if n % 3 else "b" * n for n in range(300)])
    for n_threads in (1, 2, 3):
        InThreads.seen.clear()
        prepare(texts, InThreads("abc"), tmp_path / str(n_threads), dedup=True, n_threads=n_threads)
        assert any(name.startswith("cllm-encode") for name in InThreads.seen) == (n_threads > 1)
    written = [{path.name: path.read_bytes() for path in (tmp_path / str(n)).iterdir()} for n in (1, 2, 3)]
    assert written[0] == written[1] == written[2]


def test_byte_pairs_do_not_depend_on_threads(tmp_path: Path) -> None:
    huggingface_tokenizers()
    from cllm.data.bpe import BpeConfig, BpeTokenizer

    dataset = SquadDataset(SquadConfig(str(shared("xquad.en.json"))))
    for n_threads in (1, 2, 3):
        prepare(dataset, BpeTokenizer, tmp_path / str(n_threads), options=BpeConfig(500), n_threads=n_threads)
    written = [{path.name: path.read_bytes() for path in (tmp_path / str(n)).iterdir()} for n in (1, 2, 3)]
    assert written[0] == written[1] == written[2]
    tokenizer = BpeTokenizer.from_texts((one.text for one in dataset.documents()), BpeConfig(500))
    for document in dataset.documents():  # the batch that the library makes is what it makes of the text alone
        ids = tokenizer._library.encode(document.text, add_special_tokens=False).ids
        assert tokenizer.encode(document.text).tolist() == ids
