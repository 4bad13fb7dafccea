"""Text by a model, token by token."""

from __future__ import annotations

from collections.abc import Iterator

from cllm.data.streams import stream_decoder
from cllm.decoder import Decoder
from cllm.hooks.protocols import Tokenizer
from cllm.program import Program
from cllm.sampling import Sampling, choose

# Parameters of a model whose tokens threads share: they meet after every op, and a token of fewer has no work for that.
WORTH_SHARING = 2_000_000


def usual_threads(decoding: Program, n_threads: int) -> int:
    """Of the threads that there are, as many as are of use."""
    return n_threads if decoding.n_parameters >= WORTH_SHARING else 1


def write(
    decoder: Decoder, tokenizer: Tokenizer, prompt: str, max_new_tokens: int, sampling: Sampling,
    stop: str | None = None,
) -> Iterator[str]:
    """Pieces of the text that follows `prompt`, as its tokens are chosen, up to `stop`, which is left out."""
    written = stream_decoder(tokenizer)
    logits = decoder.feed(tokenizer.encode(prompt or "\n"))
    held = ""
    for position in range(max_new_tokens):
        token = choose(logits, sampling, position)
        held += written.push([token])
        if stop and stop in held:
            yield held[: held.index(stop)]
            return
        # What may be the beginning of the stop text is held back until the next token tells.
        n_held = _beginning(held, stop) if stop else 0
        yield held[: len(held) - n_held]
        held = held[len(held) - n_held :]
        logits = decoder.feed([token])
    yield held + written.finish()


def _beginning(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
