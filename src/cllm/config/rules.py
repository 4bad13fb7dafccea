"""What no single key can be blamed for: values that make no run together. One rule, one function."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cllm.config.convert import choices, expected, shown
from cllm.config.schema import Config, RunName
from cllm.errors import ConfigError, did_you_mean
from cllm.philox import SEED_BITS

DTYPES = ("float32", "bfloat16")


def check_rules(config: Config) -> None:
    """Raises ConfigError for the first rule that `config` breaks."""
    for rule in RULES:
        rule(config)


def _heads_divide_channels(config: Config) -> None:
    n_embd, n_head = config.model.n_embd, config.model.n_head
    if n_embd % n_head:
        below = n_embd - n_embd % n_head
        above = below + n_head
        _refuse(
            f"[model] n_embd = {n_embd} is not divisible by n_head = {n_head}",
            "a multiple of n_head",
            f"use {below} or {above}" if below else f"use {above}",
        )


def _dtype_is_there(config: Config) -> None:
    dtype = config.model.dtype
    if dtype not in DTYPES:
        _refuse(f"[model] dtype = {shown(dtype)}", choices(DTYPES), did_you_mean(dtype, DTYPES))


def _one_source(config: Config) -> None:
    data = config.data
    named = [key for key in ("path", "loader", "mixture") if getattr(data, key) is not None]
    for key in ("source", "options"):
        if getattr(data, key) and data.loader is None:
            _refuse(f"[data] has {key} but no loader", "a loader with it", f"add loader, or remove {key}")
    if not named:
        _refuse("[data] does not say where the text is", "path, loader or mixture", 'add path = "book.txt"')
    if len(named) > 1:
        _refuse(f"[data] has {' and '.join(named)}", "one of path, loader, mixture", "remove the others")
    if data.mixture == []:
        _refuse("[data] mixture = []", "at least one source with its path", "add [[data.mixture]] tables")


def _paths_are_paths(config: Config) -> None:
    data = config.data
    sources = data.source if isinstance(data.source, list) else [data.source]
    for path in (data.path, *sources, *(part.path for part in data.mixture or ())):
        if path is not None and "\0" in path:
            _refuse(f"[data] has the path {path!a}", "a path without zero bytes", "correct it")


def _one_length(config: Config) -> None:
    train = config.train
    if train.steps is not None and train.epochs is not None:
        came = f"[train] has steps = {train.steps} and epochs = {train.epochs}"
        _refuse(came, "one of them", "remove the other")


def _shards_fit_batch(config: Config) -> None:
    batch, shard = config.train.batch_size, config.train.micro_batch_size
    if shard is not None and shard > batch:
        _refuse(
            f"[train] micro_batch_size = {shard} is more than batch_size = {batch}",
            "at most batch_size sequences per shard",
            f"use {batch} or fewer, or leave it out",
        )


def _seed_is_half_a_key(config: Config) -> None:
    if config.train.seed >= 1 << SEED_BITS:
        limit = f"a whole number below 2^{SEED_BITS}, so that no two seeds share a draw"
        _refuse(f"[train] seed = {config.train.seed}", limit, "use a smaller one")


def _finite_is_fixed(config: Config) -> None:
    for label, part in config.checks.items():
        if (label == "finite") != (part.name == "finite"):
            refuse_finite(f"{label}, the check {part.name}")


def refuse_finite(what: str) -> None:
    """Raise the error of a config that switches the check finite off, or has it under another label."""
    _refuse(f"[checks] has {what}", "finite under its own name: it is always on", "remove it from [checks]")


def _texts_have_names(config: Config) -> None:
    for name in config.data.evaluate:
        try:
            msgspec.convert(name, RunName)
        except msgspec.ValidationError:
            _refuse(f"[data.evaluate] {shown(name)}", expected(RunName), "choose another name")


RULES: tuple[Callable[[Config], None], ...] = (
    _heads_divide_channels,
    _dtype_is_there,
    _one_source,
    _paths_are_paths,
    _texts_have_names,
    _one_length,
    _shards_fit_batch,
    _seed_is_half_a_key,
    _finite_is_fixed,
)


def _refuse(came: str, expected: str, todo: str) -> None:
    raise ConfigError("config", came, expected, todo)
