"""From text to batches. Reading order: tokenizers, tokenizerfile, prepare, tokenfile, batches, mixture, source.

documents of a loader --tokenizer--> token files --(seed, n)--> batch n
"""

from __future__ import annotations

from cllm.data.batches import Batch, Batches, Sampling, Source, evaluation_batches
from cllm.data.files import Sources
from cllm.data.kinds import Kinds
from cllm.data.mixture import Mixture
from cllm.data.prepare import prepare
from cllm.data.preparedpart import PrepareReport
from cllm.data.source import OpenData, open_data
from cllm.data.streams import StreamDecoder, stream_decoder
from cllm.data.template import Template, chosen_template
from cllm.data.tokenfile import TokenFile
from cllm.data.tokenizerfile import load_tokenizer, save_tokenizer
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.data.tokenwrite import write_tokens

__all__ = [
    "Batch",
    "Batches",
    "ByteTokenizer",
    "CharTokenizer",
    "Kinds",
    "Mixture",
    "OpenData",
    "PrepareReport",
    "Sampling",
    "Source",
    "Sources",
    "StreamDecoder",
    "Template",
    "TokenFile",
    "chosen_template",
    "evaluation_batches",
    "load_tokenizer",
    "open_data",
    "prepare",
    "save_tokenizer",
    "stream_decoder",
    "write_tokens",
]
