"""The tokenizer `bpe`: byte-level byte pair encoding, as of GPT-2, learned and applied by Hugging Face's tokenizers.

It is the content of a tokenizer.json: one that was learned here, or any other that is byte-level, whoever made
it. The library is imported when there is such a tokenizer, and not before; what ids stand for is decoded here.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from cllm.data.standard import BYTE_CHARACTERS
from cllm.data.streams import ByteStream, StreamDecoder
from cllm.data.tokenfile import Tokens, token_dtype
from cllm.data.tokenizers import check_form, checked_ids, digest_of, utf8
from cllm.errors import TokenizerError

LEARNING_CHARACTERS = 1 << 16  # the library holds 256 pieces of text at once
_BYTES = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}

VocabSize = Annotated[int, msgspec.Meta(ge=256, le=1 << 24, description="a whole number, 256 to 16777216")]


class BpeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """vocab_size: tokens to learn; fewer where the text has fewer pairs that come twice."""

    vocab_size: VocabSize = 10_000


class BpeTokenizer:
    """Token ids are frequent sequences of bytes, 256 single ones among them: any text can be written."""

    name = "bpe"
    encodes_in_threads = True

    def __init__(self, form: Mapping[str, Any]) -> None:
        """`form`: the content of a tokenizer.json. Raises TokenizerError where it is not byte-level BPE."""
        _check_kind(form)
        self.form = dict(form)
        self._library = _made(form)
        # `encode` keeps the GIL, these do not; the fast one, from 0.20 on, makes no offsets, and is a sixth quicker.
        self._encode_batch = getattr(self._library, "encode_batch_fast", self._library.encode_batch)
        vocabulary = self._library.get_vocab(with_added_tokens=True)
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        missing = set(BYTE_CHARACTERS) - set(tokens)
        if missing or [vocabulary[token] for token in tokens] != list(range(len(tokens))):
            came = f"{len(missing)} bytes without a token" if missing else "ids with gaps between them"
            raise _refuse(came, "a token for each byte, and ids from 0 on", "use another tokenizer.json")
        self.vocab_size = len(tokens)
        self._bytes_of = [_bytes_of(token) for token in tokens]  # by id

    @classmethod
    def from_texts(cls, texts: Iterable[str], config: BpeConfig | None = None) -> BpeTokenizer:
        """Learn the tokens in one pass over any amount of text; memory grows with its different words alone.

        The same text gives the same tokens, on any number of threads, by one version of the library.
        """
        library = _library()
        learned = library.Tokenizer(library.models.BPE())
        learned.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        learned.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=(config or BpeConfig()).vocab_size, min_frequency=2, show_progress=False,
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        learned.train_from_iterator(_pieces(texts), trainer)
        form = json.loads(learned.to_str())
        # As text, which older versions of the library read as well: there are no blanks in the names of tokens.
        form["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in form["model"]["merges"]]
        return cls(form)

    def encode(self, text: str) -> Tokens:
        """Text -> (n,), smallest dtype. Raises TokenizerError for half a surrogate pair, which has no UTF-8."""
        utf8(self.name, text)
        [encoding] = self._encode_batch([text], add_special_tokens=False)
        return np.array(encoding.ids, token_dtype(self.vocab_size))

    def decode(self, ids: ArrayLike) -> str:
        """Ids -> text; bytes that are not UTF-8 become U+FFFD, as a model may write any."""
        return self._bytes(ids).decode(errors="replace")

    def n_bytes(self, ids: ArrayLike) -> int:
        """The bytes of text that ids stand for."""
        return len(self._bytes(ids))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1, "tokenizer": self.form}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BpeTokenizer:
        check_form(cls.name, data, {"name": str, "version": int, "tokenizer": dict})
        return cls(data["tokenizer"])

    def digest(self) -> str:
        return digest_of(self)

    def stream_decoder(self) -> StreamDecoder:
        """A decoder that never gives half a character."""
        return ByteStream(self._bytes)

    def _bytes(self, ids: ArrayLike) -> bytes:
        return b"".join([self._bytes_of[token] for token in checked_ids(self, ids)])


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as problem:
        came = f"no package tokenizers ({problem})"
        raise _refuse(came, "that of Hugging Face, which finds the pairs", "pip install 'cllm[tokenizers]'") from None


def _made(form: Mapping[str, Any]) -> Any:
    library = _library()
    try:
        made = library.Tokenizer.from_str(json.dumps(form))
    except Exception as problem:  # the library has no narrower class
        raise _refuse(f"what its library refuses: {problem}", "a whole tokenizer.json", "get the file again") from None
    made.no_truncation()
    made.no_padding()
    return made


def _check_kind(form: Mapping[str, Any]) -> None:
    model = form.get("model")
    byte_level = _has_byte_level(form.get("pre_tokenizer")) and _has_byte_level(form.get("decoder"))
    if not isinstance(model, Mapping) or "merges" not in model or not byte_level:
        raise _refuse("a tokenizer of another kind", "byte-level BPE, as GPT-2's", "use another tokenizer.json")
    if model.get("dropout"):
        raise _refuse("a model with dropout", "one that always gives the same ids", "set its dropout to null")


def _has_byte_level(part: Any) -> bool:
    """Whether a pre-tokenizer or a decoder, or one in its sequence, turns bytes to characters and back."""
    if not isinstance(part, Mapping):
        return False
    parts = part.get("pretokenizers") or part.get("decoders") or ()
    return part.get("type") == "ByteLevel" or any(map(_has_byte_level, parts))


def _bytes_of(token: str) -> bytes:
    """As the library's decoder has it, also of a token that was added to the learned ones."""
    known = [_BYTES.get(character) for character in token]
    return token.encode() if None in known else bytes(byte for byte in known if byte is not None)


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        utf8(BpeTokenizer.name, text)
        for start in range(0, len(text), LEARNING_CHARACTERS):
            yield text[start : start + LEARNING_CHARACTERS]


def _refuse(came: str, expected: str, todo: str) -> TokenizerError:
    return TokenizerError("tokenizer bpe", came, expected, todo)
