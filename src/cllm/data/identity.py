"""What a run learns from, as digests into which no path enters: a run that is resumed must find the same again."""

from __future__ import annotations

import json

from cllm.data.batches import Source
from cllm.data.tokenfile import TokenFile
from cllm.digest import bytes_digest, tensor_digest


def source_identity(train: Source, validation: Source | None) -> str:
    """The digest of the text behind both parts, of its order and of how it was divided between them."""
    parts = [[_file_identity(file) for file in source.parts] if source else None for source in (train, validation)]
    return bytes_digest(json.dumps(parts).encode())


def _file_identity(file: TokenFile) -> list[str | int]:
    # A token file says of which text it is, and which share of it is here shows in the counts. nanoGPT's files say
    # nothing, so theirs are read.
    # Which of it are answers, the text does not say.
    answers = [tensor_digest(file.answers)] if file.n_answers else []
    return [file.source_digest or tensor_digest(file.tokens), file.n_tokens, file.n_documents, *answers]
