"""Which keys decide bits, and so may not change when a run resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cllm.config.load import to_mapping
from cllm.config.schema import Config

# A name that ends in a dot stands for the whole table. Where data lies decides nothing: data is known by its digest.
NUMERIC_KEYS = (
    "model.",
    "data.loader",
    "data.tokenizer",
    "data.tokenizer_options.",
    "data.mixture.weight",
    "data.sampling",
    "data.documents",
    "data.loss",
    "data.validation",
    "data.options.",
    "train.seed",
    "train.batch_size",
    "train.micro_batch_size",
    "train.label_smoothing",
    "train.z_loss",
    "train.ema_decay",
    "initializer.",
    "optimizer.",
    "schedule.",
    "reducer.",
    "checks.",
)
FREE_ON_RESUME = (
    "name",
    "data.path",
    "data.source",
    "data.mixture.path",
    "data.evaluate.",
    "train.steps",
    "train.epochs",
    "train.threads",
    "train.executor",
    "train.eval_every",
    "train.eval_batches",
    "train.patience",
    "train.digest_every",
    "train.sample_tokens",
    "train.sample_prompt",
    "train.log_every",
    "train.inject_nan",
    "train.inject_nan_in",
    "checkpoint.",
    "sinks.",
    "metrics.",
    "dist.",
    "plugins.",
)


def difference(old: Config, new: Config) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, old value, new value) of every numeric key that differs, None where it is absent.

    Compare configs of the same kind: both completed by the plugins' defaults, or neither.
    """
    before, after = dict(flatten(_compared(old))), dict(flatten(_compared(new)))
    keys = sorted(key for key in before.keys() | after.keys() if is_numeric(key))
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def _compared(config: Config) -> Mapping[str, Any]:
    """The tables, but for the path of a tokenizer's file: the tokenizer is known by its digest, as the text is."""
    tables = to_mapping(config)
    if config.data.tokenizer_file is not None:
        tables["data"]["tokenizer"] = "a file"
    return tables


def is_numeric(key: str) -> bool:
    """Whether the dotted key decides bits."""
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in NUMERIC_KEYS)


def flatten(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested tables; of a list of tables, a list for each key; other lists are values."""
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            columns = dict.fromkeys(name for item in value for name in item)
            yield from ((f"{prefix}{key}.{name}", [item.get(name) for item in value]) for name in columns)
        else:
            yield f"{prefix}{key}", value
