"""What may change on resume: every key is either numeric or free, and differences are found by key."""

from __future__ import annotations

import pytest

from cllm.config import FREE_ON_RESUME, NUMERIC_KEYS, Config, difference, load_config, to_mapping
from cllm.config.compare import flatten, is_numeric
from cllm.config.schema import DataConfig, MixturePart, ModelConfig, TrainConfig

BASE = ["data.path=book.txt", "train.threads=1", "train.micro_batch_size=4", "model.vocab_size=65"]
TABLES = ("mixture", "options", "tokenizer_options", "evaluate")  # of [data]


def test_every_key_is_either_numeric_or_free() -> None:
    keys = [key for key, _ in flatten(to_mapping(load_config(overrides=BASE)))]
    keys += [f"train.{name}" for name in TrainConfig.__struct_fields__]
    keys += [f"model.{name}" for name in ModelConfig.__struct_fields__]
    keys += [f"data.{name}" for name in DataConfig.__struct_fields__ if name not in TABLES]
    keys += [f"data.mixture.{name}" for name in MixturePart.__struct_fields__]
    keys += ["data.options.x", "data.tokenizer_options.x", "data.evaluate.x"]
    for key in keys:
        free = any(key == name or (name.endswith(".") and key.startswith(name)) for name in FREE_ON_RESUME)
        assert free != is_numeric(key), key


def test_the_lists_name_keys_that_exist() -> None:
    fields = set(Config.__struct_fields__)
    keys = {"train": set(TrainConfig.__struct_fields__), "data": set(DataConfig.__struct_fields__)}
    for name in (*NUMERIC_KEYS, *FREE_ON_RESUME):
        table, _, key = name.partition(".")
        assert table in fields, name
        assert not key or key.partition(".")[0] in keys[table], name


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("train.steps=7", []),
        ("train.threads=2", []),
        ("train.eval_every=1", []),
        ("sinks.console=false", []),
        ("metrics.mine=true", []),
        ("checkpoint.keep=9", []),
        ("name=other", []),
        ("train.seed=2", [("train.seed", 1337, 2)]),
        ("train.micro_batch_size=2", [("train.micro_batch_size", 4, 2)]),
        ("model.dropout=0.5", [("model.dropout", 0.0, 0.5)]),
        ("optimizer.learning_rate=0.5", [("optimizer.learning_rate", None, 0.5)]),
        ("checks.clip.max_norm=2", [("checks.clip.max_norm", None, 2)]),
        ("checks.spike=false", [("checks.spike", None, False), ("checks.spike.name", "spike", None)]),
        ("data.path=b.txt", []),
        ("data.tokenizer=char", [("data.tokenizer", "byte", "char")]),
        ("data.tokenizer=a.json", [("data.tokenizer", "byte", "a file")]),
        ("data.tokenizer_options.x=1", [("data.tokenizer_options.x", None, 1)]),
        ("data.validation=0.2", [("data.validation", 0.1, 0.2)]),
    ],
)
def test_a_difference_is_a_numeric_key_with_both_values(
    override: str, changed: list[tuple[str, object, object]]
) -> None:
    old, new = load_config(overrides=BASE), load_config(overrides=[*BASE, override])
    assert difference(old, new) == changed
    assert difference(new, old) == [(key, after, before) for key, before, after in changed]


def test_a_tokenizers_file_may_move() -> None:
    one, other = (load_config(overrides=[*BASE, f"data.tokenizer={name}.json"]) for name in "ab")
    assert difference(one, other) == []


def test_a_mixture_may_move_but_not_change_its_weights() -> None:
    def mixed(first: str, weight: float) -> Config:
        return load_config(overrides=[f"data.mixture=[{{path='{first}', weight={weight}}}, {{path='c'}}]"])

    assert difference(mixed("a", 2.0), mixed("b", 2.0)) == []
    assert difference(mixed("a", 2.0), mixed("a", 3.0)) == [("data.mixture.weight", [2.0, 1.0], [3.0, 1.0])]
