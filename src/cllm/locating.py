"""Where a token of a batch is from: the sample, the token file, the document, and its text among its neighbours'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cllm.binding import Batch
from cllm.data.batches import Batches
from cllm.errors import CllmError
from cllm.hooks.protocols import Tokenizer

CONTEXT = 24  # tokens on each side


@dataclass(frozen=True)
class Place:
    """One token that the model read."""

    sequence: int  # of the batch
    position: int  # in the sequence
    sample: int  # of the whole run: sequence and batch in one number
    file: str  # of tokens
    file_position: int  # in it, in tokens
    document: int  # of the file
    offset: int  # in the document, in tokens
    source_digest: str  # of the text that the file was made of; empty where it does not say
    token: int
    target: int  # the token that follows; -1: not counted
    text: str | None  # None where nobody knows the tokenizer, as below
    before: str | None
    after: str | None


def place_of(batches: Batches, batch: Batch, sequence: int, position: int, tokenizer: Tokenizer | None) -> Place:
    """Of the token at [sequence, position] of `batch`, which is one of `batches`."""
    sample = batch.index * batches.batch_size + sequence
    part, start = batches.window(sample)
    file, row = batches.source.parts[part], [int(token) for token in batch.inputs[sequence]]
    place = start + position
    document = int(np.searchsorted(file.document_starts, place, side="right")) - 1
    before, after = row[max(0, position - CONTEXT) : position], row[position + 1 : position + 1 + CONTEXT]
    return Place(
        sequence, position, sample, str(file.path), place, document, place - int(file.document_starts[document]),
        file.source_digest, row[position], int(batch.targets[sequence, position]),
        _text(tokenizer, row[position : position + 1]), _text(tokenizer, before), _text(tokenizer, after),
    )


def text_of(tokenizer: Tokenizer | None, token: int) -> str | None:
    """A token's text; None where nobody knows it."""
    return _text(tokenizer, [token])


def _text(tokenizer: Tokenizer | None, tokens: Sequence[int]) -> str | None:
    if tokenizer is None:
        return None
    try:
        return tokenizer.decode(list(tokens))
    except CllmError:  # such as an id that the model has and the tokenizer does not
        return None
