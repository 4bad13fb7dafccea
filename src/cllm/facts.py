"""What a checkpoint says of its run beside the state: model and tokenizer for Hugging Face, the versions."""

from __future__ import annotations

import json

from cllm import kernels
from cllm.assemble import Assembly
from cllm.checkpoint import RunFacts
from cllm.data.tokenizerfile import FILE_NAME, standard_form, tokenizer_bytes
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import Tokenizer
from cllm.huggingface import TOKENIZER_CONFIG, model_config, tokenizer_config
from cllm.version import __version__


def facts_of(parts: Assembly, plugins: Plugins) -> RunFacts:
    """The facts of an assembled run."""
    model = parts.config.model
    return RunFacts(
        model_config=model_config(model),
        tokenizer_files=tokenizer_files(parts.data.tokenizer, model.block_size) if parts.data.tokenizer else {},
        n_shards=parts.engine.n_shards,
        plugins=plugins.record(),
        numerics_version=kernels.NUMERICS_VERSION,
        cllm_version=__version__,
        data_digest=parts.data.digest,
        tokenizer_digest=parts.data.tokenizer_digest,
    )


def tokenizer_files(tokenizer: Tokenizer, block_size: int) -> dict[str, bytes]:
    """What a checkpoint holds of its tokenizer, by name; for transformers too, where it has a form for them."""
    files = {FILE_NAME: tokenizer_bytes(tokenizer)}
    if standard_form(tokenizer) is not None:
        files[TOKENIZER_CONFIG] = json.dumps(tokenizer_config(block_size), indent=1).encode() + b"\n"
    return files
