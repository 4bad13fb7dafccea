"""What a checkpoint says of its run beside the state: the model for Hugging Face, the tokenizer, the versions."""

from __future__ import annotations

from cllm import kernels
from cllm.assemble import Assembly
from cllm.checkpoint import RunFacts
from cllm.data.tokenizers import UNKNOWN
from cllm.hooks.plugins import Plugins
from cllm.huggingface import gpt2_config
from cllm.version import __version__


def facts_of(parts: Assembly, plugins: Plugins) -> RunFacts:
    """The facts of an assembled run."""
    model = parts.config.model
    return RunFacts(
        model_config=gpt2_config(
            vocab_size=model.vocab_size or 0, block_size=model.block_size, n_embd=model.n_embd, n_layer=model.n_layer,
            n_head=model.n_head, activation=model.activation, layernorm_epsilon=model.layernorm_epsilon,
            dropout=model.dropout,
        ),
        tokenizer=parts.data.tokenizer.to_json() if parts.data.tokenizer else UNKNOWN,
        n_shards=parts.engine.n_shards,
        plugins=plugins.record(),
        numerics_version=kernels.NUMERICS_VERSION,
        cllm_version=__version__,
        data_digest=parts.data.digest,
        tokenizer_digest=parts.data.tokenizer_digest,
    )
