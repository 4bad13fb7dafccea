"""Files, overrides and presets become a Config, and a Config becomes a file that gives it back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.config import PRESETS, Config, Part, from_mapping, load_config, parse_override, to_mapping, to_toml
from cllm.config.schema import (
    CheckpointConfig,
    DataConfig,
    DistConfig,
    MixturePart,
    ModelConfig,
    TrainConfig,
)
from cllm.errors import ConfigError

DATA = "data.path=book.txt"


def test_defaults() -> None:
    config = load_config(overrides=[DATA])
    assert (config.name, config.train.steps, config.train.epochs, config.train.seed) == ("run", 1000, None, 1337)
    assert (config.optimizer, config.schedule, config.reducer) == (Part("adamw"), Part("cosine"), Part("tree"))
    assert config.checks == {"finite": Part("finite"), "clip": Part("clip"), "spike": Part("spike")}
    assert config.sinks == {"console": Part("console"), "jsonl": Part("jsonl")}
    assert config.model == ModelConfig()


def test_a_file_sets_every_table(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        """
        name = "squad"
        [model]
        preset = "mini"
        n_embd = 192
        [data]
        loader = "squad"
        source = ["a.json", "b.json"]
        tokenizer = "char"
        [data.options]
        strict = true
        [train]
        epochs = 2.5
        micro_batch_size = 3
        [optimizer]
        name = "sgd"
        momentum = 0.9
        [checks.tight]
        name = "clip"
        max_norm = 0.5
        [checks]
        spike = false
        [sinks]
        console = false
        [checkpoint]
        every = 0
        """,
        encoding="utf-8",
    )
    config = load_config(path)
    assert config == load_config(str(path))
    assert (config.name, config.model.n_embd, config.model.block_size, config.model.preset) == (
        "squad",
        192,
        128,
        "mini",
    )
    assert config.data.source == ["a.json", "b.json"]
    assert config.data.options == {"strict": True}
    assert (config.train.steps, config.train.epochs, config.train.micro_batch_size) == (None, 2.5, 3)
    assert config.optimizer == Part("sgd", {"momentum": 0.9})
    assert config.checks == {"finite": Part("finite"), "clip": Part("clip"), "tight": Part("clip", {"max_norm": 0.5})}
    assert config.sinks == {"jsonl": Part("jsonl")}
    assert config.checkpoint.every == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_the_sizes_that_are_left_out(preset: str) -> None:
    block_size, n_layer, n_head, n_embd = PRESETS[preset]
    model = load_config(overrides=[DATA, f"model.preset={preset}", "model.n_layer=3"]).model
    assert (model.block_size, model.n_layer, model.n_head, model.n_embd) == (block_size, 3, n_head, n_embd)
    assert n_layer != 3


def test_the_defaults_without_a_preset_are_tiny() -> None:
    model = ModelConfig()
    assert (model.block_size, model.n_layer, model.n_head, model.n_embd) == PRESETS["tiny"]


def test_later_layers_win_and_keep_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[data]\npath = "book.txt"\n[train]\nseed = 2\nbatch_size = 8\n', encoding="utf-8")
    config = load_config(path, ["train.seed=3", "train.seed=4"], base={"train": {"seed": 1, "eval_every": 7}})
    assert (config.train.seed, config.train.batch_size, config.train.eval_every) == (4, 8, 7)


@pytest.mark.parametrize(
    ("base", "override", "kept"),
    [
        ({"train": {"steps": 5}}, "train.epochs=2", {"epochs": 2.0, "steps": None}),
        ({"train": {"epochs": 2}}, "train.steps=5", {"epochs": None, "steps": 5}),
        ({"train": {"steps": 5}}, "train.seed=2", {"steps": 5, "seed": 2}),
    ],
)
def test_a_layer_replaces_the_alternatives_of_lower_ones(
    base: dict[str, Any], override: str, kept: dict[str, Any]
) -> None:
    train = load_config(overrides=[DATA, override], base=base).train
    assert {key: getattr(train, key) for key in kept} == kept


@pytest.mark.parametrize(
    ("overrides", "came"),
    [
        (["train.steps=3", "train.epochs=1"], "steps = 3 and epochs = 1.0"),
        (["train.epochs=1", "train.steps=3"], "steps = 3 and epochs = 1.0"),
        (["data.loader=pydoc"], "path and loader"),
        (["train.steps=3", "train=5"], "train = 5, and keys below train"),
        (["train=5", "train.steps=3"], "train = 5, and keys below train"),
        (["train=5"], "train = 5"),
        (["data.options.x=1", "data.options=5"], "data.options = 5, and keys below data.options"),
        (["checks.spike.window=9", "checks.spike=3"], "checks.spike = 3, and keys below checks.spike"),
    ],
)
def test_overrides_that_exclude_each_other_are_refused(overrides: list[str], came: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[DATA, *overrides], base={"train": {"epochs": 2}})
    assert came in caught.value.came


def test_a_value_does_not_take_the_tables_of_a_file_away(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[data]\npath = "book.txt"\n[train]\nseed = 2\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train = 5, and keys below train; .* as in train\.KEY=VALUE"):
        load_config(path, ["train=5"])


@pytest.mark.parametrize(
    ("overrides", "is_on"),
    [
        (["checks.spike=false", "checks.spike.window=9"], True),
        (["checks.spike.window=9", "checks.spike=false"], False),
    ],
)
def test_a_check_is_switched_off_and_on_again(overrides: list[str], is_on: bool) -> None:
    assert ("spike" in load_config(overrides=[DATA, *overrides]).checks) == is_on


def test_a_path_replaces_a_loader_with_its_source_and_options() -> None:
    base = {"data": {"loader": "squad", "source": "a.json", "options": {"x": 1}, "tokenizer": "char"}}
    data = load_config(overrides=[DATA], base=base).data
    assert data == DataConfig(path="book.txt", tokenizer="char")
    data = load_config(overrides=["data.mixture=[{path='a', weight=2}, {path='b'}]"], base=base).data
    assert data.mixture == [MixturePart(path="a", weight=2.0), MixturePart(path="b")]
    assert (data.loader, data.source, data.options) == (None, None, {})


@pytest.mark.parametrize(
    ("override", "nested"),
    [
        ("train.steps=2000", {"train": {"steps": 2000}}),
        (" train . steps = 2000 ", {"train": {"steps": 2000}}),
        ("name=my-run", {"name": "my-run"}),
        ("name='7'", {"name": "7"}),
        ("a.b.c=[1, 2]", {"a": {"b": {"c": [1, 2]}}}),
        ("a.b=true", {"a": {"b": True}}),
        ("a.b=1e-3", {"a": {"b": 0.001}}),
        ("a.b=", {"a": {"b": ""}}),
        ("a.b=x=y", {"a": {"b": "x=y"}}),
        ("a.b=2024-01-01", {"a": {"b": "2024-01-01"}}),
        ("a.b=1\nc=2", {"a": {"b": "1\nc=2"}}),
        ("a.b=data/*.txt", {"a": {"b": "data/*.txt"}}),
    ],
)
def test_an_override_is_toml_or_else_text(override: str, nested: dict[str, Any]) -> None:
    assert parse_override(override) == nested


@pytest.mark.parametrize("override", ["train.steps", "=3", ".steps=3", "train..steps=3", ""])
def test_an_override_without_key_or_value_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"expected table\.key=value"):
        parse_override(override)


def test_true_is_a_part_without_options() -> None:
    config = load_config(overrides=[DATA, "checks.mine=true", "checks.clip=true"], base={"checks": {"clip": False}})
    assert config.checks == {label: Part(label) for label in ("finite", "clip", "spike", "mine")}


def _again(config: Config) -> Config:
    return from_mapping(tomllib.loads(to_toml(config)))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model.preset=small", "model.dropout=0.25", "model.vocab_size=65"],
        ["train.epochs=1.5", "train.threads=3", "train.micro_batch_size=2", "train.seed=4294967295"],
        ["checks.spike=false", "checks.a.name=clip", "checks.a.max_norm=1", "sinks.console=false", "sinks.jsonl=false"],
        ["optimizer.betas=[0.9, 0.99]", "optimizer.nested={a = {b = 1}}", "schedule.name=constant"],
        ["data.mixture=[{path='a', weight=0.1}, {path='b'}]"],
        ["data.loader=text", "data.source=['a', 'b']", "data.options.x='quote \" and \\n'"],
    ],
)
def test_toml_gives_the_config_back(overrides: list[str]) -> None:
    config = load_config(overrides=overrides, base={"data": {"path": "book.txt"}})
    assert _again(config) == config
    assert to_toml(_again(config)) == to_toml(config)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    number=st.floats(allow_nan=False, allow_infinity=False),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_text_and_number_comes_back_as_it_was(text: str, number: float, seed: int) -> None:
    config = Config(
        data=DataConfig(path=text),
        train=TrainConfig(steps=1, seed=seed),
        optimizer=Part("adamw", {"learning_rate": number, "note": text}),
    )
    assert _again(config) == config


def test_a_mapping_holds_nothing_that_toml_lacks() -> None:
    mapping = to_mapping(load_config(overrides=[DATA]))
    assert "threads" not in mapping["train"]
    assert "options" not in mapping["data"]
    assert mapping["optimizer"] == {"name": "adamw"}


@pytest.mark.parametrize("table", [ModelConfig, MixturePart, DataConfig, TrainConfig, CheckpointConfig, DistConfig])
def test_every_key_is_explained(table: type[msgspec.Struct]) -> None:
    explained = table.__doc__ or ""
    for field in msgspec.structs.fields(table):
        assert f"{field.name}: " in explained, f"{table.__name__} does not explain {field.name}"


def test_options_of_a_communicator_go_with_it() -> None:
    base = {"data": {"path": "book.txt"}, "dist": {"communicator": "mpi", "fast": True}}
    assert load_config(base=base).dist == DistConfig(communicator="mpi", options={"fast": True})
    assert load_config(None, ["dist.fast=false"], base).dist.options == {"fast": False}
    assert load_config(None, ["dist.communicator=mpi"], base).dist.options == {"fast": True}
    assert load_config(None, ["dist.communicator=single"], base).dist == DistConfig()
    assert to_mapping(load_config(base=base))["dist"] == base["dist"]
