"""Stream decoders: what they give in all is what decode gives, and never half a character on the way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cllm.data.streams import stream_decoder
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer


@given(data=st.binary(), cuts=st.lists(st.integers(0, 50)))
def test_byte_stream_gives_what_decode_gives(data: bytes, cuts: list[int]) -> None:
    decoder = stream_decoder(ByteTokenizer())
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    text = "".join(decoder.push(list(data[a:b])) for a, b in pairwise(bounds))
    assert text + decoder.finish() == ByteTokenizer().decode(list(data)) == data.decode(errors="replace")


def test_byte_stream_holds_back_half_a_character() -> None:
    decoder = stream_decoder(ByteTokenizer())
    assert [decoder.push(byte) for byte in "é—".encode()] == ["", "é", "", "", "—"]
    assert decoder.push([0xE2]) == "" and decoder.finish() == "\ufffd"


def test_char_stream_is_immediate() -> None:
    tokenizer = CharTokenizer("abc")
    decoder = stream_decoder(tokenizer)
    assert [decoder.push(token) for token in (2, 0)] == ["c", "a"] and decoder.finish() == ""
