"""Configs of any kind: refused by an error of cllm's, or a run's, which config.toml gives back as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.assemble import open_run_data, resolve
from cllm.config import Config, from_mapping, load_config, located, to_toml
from cllm.errors import CllmError
from cllm.hooks.manager import build_manager
from tests.fuzzing import fuzzed
from tests.runs import config as small_config

BASES: list[dict[str, Any]] = [
    {"data": {"path": "text.txt"}},
    {
        "name": "whole",
        "model": {"preset": "mini", "n_embd": 192, "dropout": 0.1, "bias": False, "vocab_size": 300},
        "data": {"loader": "squad", "source": ["a.json", "b.json"], "tokenizer": "char", "validation": 0},
        "train": {"epochs": 2.5, "batch_size": 6, "micro_batch_size": 3, "seed": 7, "threads": 2, "eval_every": 0},
        "optimizer": {"name": "sgd", "momentum": 0.9},
        "schedule": {"name": "constant", "warmup_steps": 2},
        "reducer": {"name": "ordered"},
        "checks": {"spike": False, "tight": {"name": "clip", "max_norm": 0.5}, "clip": True},
        "sinks": {"console": False, "log": {"name": "jsonl"}},
        "checkpoint": {"every": 5, "keep": 1, "keep_best": True},
        "dist": {"communicator": "single"},
    },
    {
        "data": {"mixture": [{"path": "a", "weight": 2}, {"path": "b"}], "sampling": "random"},
        "optimizer": {"learning_rate": 0.01, "betas": [0.9, 0.99], "epsilon": 1e-9, "weight_decay": 0},
        "schedule": {"warmup_steps": 3, "decay_steps": 50, "minimum_ratio": 0.0},
        "checks": {"spike": {"threshold": 5, "window": 9, "warmup": 4, "action": "abort"}},
    },
]
KEYS = sorted({
    "name", "finite", "console", "x", "", "a.b", "é", "\n", "\ud800",
    *(key for base in BASES for table in base.values() if isinstance(table, dict) for key in [*base, *table]),
})
TEXTS = st.one_of(
    st.sampled_from(
        ["", "gpt2", "adamw", "cosine", "finite", "single", "squad", "a*", "~", "\0/*", "\ud800", "1", "x" * 999]
    ),
    st.text(st.characters(exclude_characters="/"), max_size=5),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2**31, 2**32, 2**63, 2**64, 10**400, 0.0, -0.0, 0.5, 1.0, 1e308, 5e-324]),
    st.integers(), st.floats(),
)
TIMES: list[Any] = [date(2024, 1, 1), time(1, 2), datetime(2024, 1, 1, 1, 2, 3, 400, UTC)]
VALUES = st.recursive(
    st.one_of(st.booleans(), NUMBERS, TEXTS, st.sampled_from(TIMES)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    ),
    max_leaves=6,
)
# Where (counted around), what is done there, under which key, with what.
EDITS = st.tuples(st.integers(0, 99), st.sampled_from(["set", "set", "add", "drop"]), st.sampled_from(KEYS), VALUES)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(table or list, key or index) of everything in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item)


def edited(values: dict[str, Any], edits: list[tuple[int, str, str, Any]]) -> dict[str, Any]:
    values = copy.deepcopy(values)
    for place, what, key, value in edits:
        found = list(places(values))
        where, old = found[place % len(found)] if found else (values, "x")
        if what == "drop":
            where.pop(old, *[None] * isinstance(where, dict))
        elif what == "add" and isinstance(where, dict):
            where[key] = value
        else:
            where[old] = value
    return values


def loaded(values: dict[str, Any], by_file: bool, path: Path) -> Config:
    """By a file where TOML can hold the values. Raises CllmError."""
    try:
        text = tomli_w.dumps(values).encode()
    except (TypeError, ValueError):
        by_file = False
    if not by_file:
        return from_mapping(values)
    path.write_bytes(text)
    return load_config(path)


def written_and_read(config: Config, path: Path) -> Config:
    path.write_text(to_toml(config), encoding="utf-8")
    return load_config(path)


@fuzzed(300, 5_000)
def test_any_config_is_refused_or_comes_back_as_it_was(
    length: settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plugins, path = build_manager(), tmp_path / "run.toml"
    data = open_run_data(small_config(tmp_path), plugins, tmp_path / "cache")

    @length
    @given(base=st.sampled_from(BASES), edits=st.lists(EDITS, max_size=2), by_file=st.booleans())
    def check(base: dict[str, Any], edits: list[tuple[int, str, str, Any]], by_file: bool) -> None:
        try:
            config = loaded(edited(base, edits), by_file, path)
        except CllmError:
            return
        assert written_and_read(config, path) == config
        try:
            resolved, _ = resolve(located(config), data, plugins)
        except CllmError:
            return
        assert written_and_read(resolved, path) == resolved
        assert resolve(resolved, data, plugins)[0] == resolved

    check()
