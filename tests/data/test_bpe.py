"""The tokenizer bpe: learned the same each time, there and back, the ids of Hugging Face's library, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.data.bpe import BpeConfig, BpeTokenizer
from cllm.data.standard import byte_form, char_form
from cllm.data.streams import stream_decoder
from cllm.data.tokenizerfile import load_tokenizer, save_tokenizer
from cllm.errors import TokenizerError
from tests.data.helpers import MANY_SCRIPTS, huggingface_tokenizers

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [MANY_SCRIPTS, "def square(x):\n    return x * x\n\n" * 9, "the cat sat on the mat and the hat\n" * 9]


@pytest.fixture(scope="module")
def learned() -> BpeTokenizer:
    huggingface_tokenizers()
    return BpeTokenizer.from_texts(TEXTS, BpeConfig(vocab_size=300))


@pytest.fixture(scope="module")
def theirs(learned: BpeTokenizer) -> Any:
    return huggingface_tokenizers().Tokenizer.from_str(json.dumps(learned.form))


def test_it_learns_as_many_tokens_as_it_is_told(learned: BpeTokenizer) -> None:
    assert learned.vocab_size == 300
    text = "the cat sat on the hat"
    assert len(learned.encode(text)) < len(text) / 2 and learned.encode(text).dtype == np.uint16


def test_it_learns_fewer_where_no_pair_comes_twice() -> None:
    huggingface_tokenizers()
    few = BpeTokenizer.from_texts(["the the"])
    assert few.vocab_size == 258 and few.encode("the the").size == 3  # th, the
    assert BpeTokenizer.from_texts([]).vocab_size == 256


@given(text=st.text(st.characters(codec="utf-8")))
def test_there_and_back(text: str, learned: BpeTokenizer, theirs: Any) -> None:
    ids = learned.encode(text)
    assert learned.decode(ids) == text and learned.n_bytes(ids) == len(text.encode())
    assert theirs.encode(text).ids == ids.tolist()


@given(ids=st.lists(st.integers(0, 299)))
def test_any_ids_become_the_texts_of_their_library(ids: list[int], learned: BpeTokenizer, theirs: Any) -> None:
    assert learned.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


@given(ids=st.lists(st.integers(0, 299)))
def test_a_stream_gives_the_same_text(ids: list[int], learned: BpeTokenizer) -> None:
    decoder = stream_decoder(learned)
    assert "".join(decoder.push([token]) for token in ids) + decoder.finish() == learned.decode(ids)


def test_a_stream_never_gives_half_a_character(learned: BpeTokenizer) -> None:
    decoder = stream_decoder(learned)
    pieces = [decoder.push([token]) for token in learned.encode("日本語 👩‍👩‍👧‍👦 é")]
    assert "" in pieces and "\ufffd" not in "".join(pieces) and decoder.finish() == ""


@given(cuts=st.lists(st.integers(0, 60)))
def test_bytes_are_counted_wherever_the_tokens_are_cut(cuts: list[int], learned: BpeTokenizer) -> None:
    text = "日本語 👩‍👩‍👧‍👦 naïve the cat"
    ids = learned.encode(text)
    bounds = sorted({0, len(ids), *(cut for cut in cuts if cut < len(ids))})
    assert sum(learned.n_bytes(ids[a:b]) for a, b in pairwise(bounds)) == len(text.encode())


LEARN = """
import sys
from cllm.data.bpe import BpeConfig, BpeTokenizer
from tests.data.test_bpe import TEXTS
print(BpeTokenizer.from_texts(TEXTS * 50, BpeConfig(400)).digest())
"""


def test_the_same_text_gives_the_same_tokens_on_any_number_of_threads() -> None:
    huggingface_tokenizers()
    digests = {
        subprocess.run(
            [sys.executable, "-c", LEARN], env={**os.environ, **switches}, cwd=ROOT, capture_output=True, text=True,
            check=True,
        ).stdout
        for switches in (
            {"RAYON_NUM_THREADS": "1"}, {"RAYON_NUM_THREADS": "2"}, {"RAYON_NUM_THREADS": "5"},
            {"TOKENIZERS_PARALLELISM": "false"},
        )
    }  # fmt: skip
    assert len(digests) == 1 and len(digests.pop().strip()) == 64


def test_what_the_text_raises_comes_out() -> None:
    huggingface_tokenizers()

    def texts() -> Any:
        yield "text"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BpeTokenizer.from_texts(texts())


def test_half_a_surrogate_pair_is_refused_in_learning_and_encoding(learned: BpeTokenizer) -> None:
    for use in (learned.encode, lambda text: BpeTokenizer.from_texts([text])):
        with pytest.raises(TokenizerError, match=r"tokenizer bpe: character .*U\+DC00.* at place 2 "):
            use("ab\udc00")


@pytest.mark.parametrize("token", [-1, 300])
def test_foreign_ids_are_refused(token: int, learned: BpeTokenizer) -> None:
    with pytest.raises(TokenizerError, match=f"tokenizer bpe: token id {token}"):
        learned.decode([0, token])


def test_it_is_saved_as_the_library_reads_it(learned: BpeTokenizer, tmp_path: Path) -> None:
    save_tokenizer(learned, tmp_path / "tokenizer.json")
    theirs = huggingface_tokenizers().Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(MANY_SCRIPTS).ids == learned.encode(MANY_SCRIPTS).tolist()
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(again, BpeTokenizer) and again.digest() == learned.digest()
    assert BpeTokenizer.from_json(learned.to_json()).digest() == learned.digest()


def test_the_digest_is_of_the_content_not_of_its_layout(learned: BpeTokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(learned.form, sort_keys=True))
    assert load_tokenizer(tmp_path / "tokenizer.json").digest() == learned.digest()


def test_anothers_tokenizer_keeps_its_special_tokens(learned: BpeTokenizer) -> None:
    library = huggingface_tokenizers()
    other = library.Tokenizer.from_str(json.dumps(learned.form))
    other.add_special_tokens(["<|endoftext|>"])
    other.add_tokens(["two words"])
    other.enable_truncation(2)
    other.enable_padding(length=50)
    ours = BpeTokenizer(json.loads(other.to_str()))
    text = "the cat<|endoftext|>the two words"
    ids = ours.encode(text)
    assert ours.vocab_size == 302 and {300, 301} <= set(ids.tolist())
    assert ours.decode(ids) == text and 2 < len(ids) < 50


def changed(form: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**form, **parts}


def gaps(form: dict[str, Any]) -> dict[str, Any]:
    vocab = {token: place + (place > 270) for token, place in form["model"]["vocab"].items()}
    return changed(form, model={**form["model"], "vocab": vocab})


def lacking(form: dict[str, Any]) -> dict[str, Any]:
    vocab = {token: place for place, token in enumerate(sorted(form["model"]["vocab"].keys() - {"~"}))}
    return changed(form, model={**form["model"], "vocab": vocab, "merges": []})


@pytest.mark.parametrize(
    ("change", "came"),
    [
        (lambda form: changed(form, decoder=None), "another kind"),
        (lambda form: changed(form, pre_tokenizer=None), "another kind"),
        (lambda form: changed(form, model={"type": "WordPiece", "vocab": {}}), "another kind"),
        (lambda form: changed(char_form("ab"), normalizer={"type": "NFC"}), "another kind"),
        (lambda form: {"model": None}, "another kind"),
        (lambda form: changed(form, model={**form["model"], "dropout": 0.5}), "dropout"),
        (lambda form: changed(form, model={**form["model"], "vocab": 1}), "what its library refuses"),
        (lambda form: changed(form, more=1), "what its library refuses"),
        (gaps, "gaps"),
        (lacking, "1 bytes without a token"),
    ],
)
def test_what_is_not_byte_level_is_refused(change: Any, came: str, learned: BpeTokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(change(learned.form)))
    with pytest.raises(TokenizerError, match=f"^tokenizer bpe: .*/tokenizer.json: .*{came}"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_missing_library_is_told_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for use in (lambda: BpeTokenizer.from_texts(["text"]), lambda: BpeTokenizer(byte_form())):
        with pytest.raises(TokenizerError, match=r"no package tokenizers.*; pip install 'cllm\[tokenizers\]'$"):
            use()


UNUSED = """
import sys, cllm
from cllm.cli import main
from cllm.data import ByteTokenizer
open(sys.argv[1], "w").write("a text of some length\\n" * 9)
assert main(["prepare", "text", sys.argv[1], "--tokenizer", "char", "--out", sys.argv[1] + "-out"]) == 0
assert main(["plugins", "list"]) == 0
assert "tokenizers" not in sys.modules
"""


def test_the_library_is_not_imported_unless_it_is_used(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", UNUSED, str(tmp_path / "text")], check=True, stdout=subprocess.DEVNULL)
