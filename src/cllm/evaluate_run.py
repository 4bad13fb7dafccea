"""Measures the newest checkpoint of a run on its whole validation part, and on what `[data.evaluate]` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from numpy.typing import ArrayLike

from cllm.assemble import open_run_data
from cllm.engine import Engine
from cllm.errors import DataError
from cllm.evaluate import Evaluation, evaluate
from cllm.generate import load
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import Tokenizer
from cllm.machine import default_threads
from cllm.measuring import batches_to_measure
from cllm.resume import refuse_other_data


@dataclass(frozen=True)
class Evaluated:
    """What was measured; `warnings` tell of newer checkpoints that do not verify."""

    validation: Evaluation | None
    others: Mapping[str, Evaluation]  # by their names in [data.evaluate]
    warnings: tuple[str, ...] = ()


def evaluate_run(path: Path, plugins: Plugins, n_threads: int | None = None) -> Evaluated:
    """Loss, perplexity and bits per byte (None without a tokenizer). Raises DataError where nothing is held out."""
    model = load(path, plugins)
    config, cache = model.config, path / "data"
    with TemporaryDirectory() as temporary:
        data = open_run_data(config, plugins, cache if cache.exists() else Path(temporary))
        refuse_other_data(model.facts, data, "eval")
        sources = {"": data.validation} if data.validation is not None else {}
        sources |= data.others
        if not sources:
            came, todo = "data without a validation part", "set [data] validation above 0, or [data.evaluate]"
            raise DataError("eval", came, "one", todo)
        program = plugins.factory("model", config.model.family)(config.model, "evaluate")
        engine = Engine(program, config.train.batch_size, n_threads or default_threads())
        found = {}
        for name, source in sources.items():
            batches = batches_to_measure(config, source)
            found[name] = evaluate(engine, model.parameters, batches, _byte_counter(model.tokenizer))
        return Evaluated(found.pop("", None), found, model.warnings)


def _byte_counter(tokenizer: Tokenizer | None) -> Callable[[ArrayLike], int] | None:
    if tokenizer is None:
        return None
    own: Callable[[ArrayLike], int] | None = getattr(tokenizer, "n_bytes", None)
    return own or (lambda ids: len(tokenizer.decode(ids).encode("utf-8", "replace")))
