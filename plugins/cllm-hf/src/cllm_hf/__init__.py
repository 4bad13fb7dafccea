"""The plugin: what a config can name. The libraries of Hugging Face are imported where a config does, and not here."""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import DatasetSpec, TokenizerSpec, hookimpl


@hookimpl
def cllm_register_datasets() -> Iterator[DatasetSpec]:
    summary = "datasets of Hugging Face: cached ones, saved folders, local files"
    yield DatasetSpec("hf.dataset", summary, "cllm_hf.dataset:made", "cllm_hf.options:DatasetConfig")


@hookimpl
def cllm_register_tokenizers() -> Iterator[TokenizerSpec]:
    summary = "the tokenizer.json of a model on the Hub, from the local cache"
    yield TokenizerSpec("hf.tokenizer", summary, "cllm_hf.tokenizer:HubTokenizer", "cllm_hf.options:TokenizerConfig")
