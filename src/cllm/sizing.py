"""The Programs of a run and the bytes that it takes, known from its completed config before anything is allocated."""

from __future__ import annotations

import msgspec

from cllm.config import Config
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import Optimizer, Reducer
from cllm.memory import by_layers, decoder_memory, run_memory
from cllm.ops.cross_entropy import add_terms
from cllm.ops.fault import insert as insert_fault
from cllm.program import Program
from cllm.share import ALONE, Share

POSITIONS = 3 * 4  # bytes a token of positions in documents, of three batches at a time


def programs_of(
    config: Config, plugins: Plugins, evaluates: bool, n_layer: int | None = None
) -> tuple[Program, Program | None]:
    """For training and, if the run evaluates, for that; n_layer: of another depth."""
    train, model, build = config.train, config.model, plugins.factory("model", config.model.family)
    if n_layer is not None:
        model = msgspec.structs.replace(model, n_layer=n_layer)
    training = build(model, "train")
    add_terms(training, train.label_smoothing, train.z_loss)
    if train.inject_nan is not None:
        insert_fault(training, train.inject_nan - 1, train.batch_size, train.inject_nan_in != "forward")
    return training, build(model, "evaluate") if evaluates else None


def decoding_of(config: Config, plugins: Plugins, n_layer: int | None = None) -> Program:
    """For samples."""
    model = config.model if n_layer is None else msgspec.structs.replace(config.model, n_layer=n_layer)
    program: Program = plugins.factory("model", model.family)(model, "decode")
    return program


def memory_of(
    config: Config, plugins: Plugins, optimizer: Optimizer, reducer: Reducer, n_threads: int, evaluates: bool,
    share: Share = ALONE,
) -> dict[str, int]:
    """Bytes by what they are for, of a run or of one rank of it."""
    train = config.train

    def of_depth(n_layer: int) -> dict[str, int]:
        memory = run_memory(
            *programs_of(config, plugins, evaluates, n_layer), optimizer, reducer, batch_size=train.batch_size,
            n_threads=n_threads, micro_batch_size=train.micro_batch_size, executor=train.executor, share=share,
        )
        if config.data.documents == "separate":
            memory["batches"] += POSITIONS * config.tokens_per_step
        if train.sample_tokens:
            memory["samples"] = decoder_memory(decoding_of(config, plugins, n_layer), n_threads)
        return memory

    memory = by_layers(of_depth, config.model.n_layer)
    if config.checkpoint.snapshot_mb:
        memory["snapshots"] = config.checkpoint.snapshot_mb << 20
    return memory
