"""Measures the newest checkpoint of a run on its whole validation part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from numpy.typing import ArrayLike

from cllm.assemble import open_run_data
from cllm.data.batches import evaluation_batches
from cllm.engine import Engine
from cllm.errors import DataError
from cllm.evaluate import Evaluation, evaluate
from cllm.generate import load
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import Tokenizer
from cllm.machine import default_threads
from cllm.resume import refuse_other_data


def evaluate_run(path: Path, plugins: Plugins, n_threads: int | None = None) -> Evaluation:
    """Loss, perplexity and bits per byte (None without a tokenizer). Raises DataError where nothing is held out."""
    model = load(path, plugins)
    config, cache = model.config, path / "data"
    with TemporaryDirectory() as temporary:
        data = open_run_data(config, plugins, cache if cache.exists() else Path(temporary))
        refuse_other_data(model.facts, data, "eval")
        if data.validation is None:
            raise DataError("eval", "data without a validation part", "one", "set [data] validation above 0")
        program = plugins.factory("model", config.model.family)(config.model, "evaluate")
        engine = Engine(program, config.train.batch_size, n_threads or default_threads())
        batches = evaluation_batches(
            data.validation, config.model.block_size, config.train.batch_size, loss=config.data.loss
        )
        measured = evaluate(engine, model.parameters, batches, _byte_counter(model.tokenizer))
        return replace(measured, warnings=model.warnings)


def _byte_counter(tokenizer: Tokenizer | None) -> Callable[[ArrayLike], int] | None:
    if tokenizer is None:
        return None
    own: Callable[[ArrayLike], int] | None = getattr(tokenizer, "n_bytes", None)
    return own or (lambda ids: len(tokenizer.decode(ids).encode("utf-8", "replace")))
