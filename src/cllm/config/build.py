"""Tables to a Config: presets and defaults filled in, parts split into name and options, rules checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cllm.config.convert import expected, shown, to_struct, unknown_key
from cllm.config.plain import plain
from cllm.config.presets import fill_sizes
from cllm.config.rules import check_rules, refuse_finite
from cllm.config.schema import (
    DEFAULT_CHECKS,
    DEFAULT_SINKS,
    CheckpointConfig,
    Config,
    DataConfig,
    DistConfig,
    ModelConfig,
    Part,
    PluginsConfig,
    RunName,
    TrainConfig,
)
from cllm.errors import ConfigError, did_you_mean

DEFAULT_STEPS = 1000


def from_mapping(values: Mapping[str, Any]) -> Config:
    """Return the Config of the tables of a TOML file. Raises ConfigError."""
    values = plain(values)
    known = [field.name for field in msgspec.structs.fields(Config)]
    for key in values:
        if key not in known:
            raise unknown_key("the config", key, known)
    if _table(values, "checks").get("finite") is False:  # here, for it leaves nothing for a rule to see
        refuse_finite("finite = false")
    config = Config(
        name=_name(values),
        model=to_struct(ModelConfig, fill_sizes(_table(values, "model")), "[model]"),
        data=to_struct(DataConfig, _table(values, "data"), "[data]"),
        train=_train(_table(values, "train")),
        initializer=_part(_table(values, "initializer"), "[initializer]", "family"),
        optimizer=_part(_table(values, "optimizer"), "[optimizer]", "adamw"),
        schedule=_part(_table(values, "schedule"), "[schedule]", "cosine"),
        reducer=_part(_table(values, "reducer"), "[reducer]", "tree"),
        checks=_labelled(_table(values, "checks"), "checks", DEFAULT_CHECKS),
        sinks=_labelled(_table(values, "sinks"), "sinks", DEFAULT_SINKS),
        metrics=_labelled(_table(values, "metrics"), "metrics", {}),
        checkpoint=to_struct(CheckpointConfig, _table(values, "checkpoint"), "[checkpoint]"),
        dist=_dist(_table(values, "dist")),
        plugins=to_struct(PluginsConfig, _table(values, "plugins"), "[plugins]"),
    )
    check_rules(config)
    return config


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = values.get(key, {})
    if not isinstance(table, Mapping):
        came = f"{key} = {shown(table)}"
        raise ConfigError("config", came, "a table", f"write [{key}] and its keys below it, or {key}.KEY=VALUE")
    return table


def _name(values: Mapping[str, Any]) -> str:
    try:
        return msgspec.convert(values.get("name", "run"), RunName)
    except msgspec.ValidationError:
        came = f"name = {shown(values['name'])}"
        raise ConfigError("config", came, expected(RunName), "choose another name") from None


def _train(table: Mapping[str, Any]) -> TrainConfig:
    train = to_struct(TrainConfig, table, "[train]")
    if train.steps is None and train.epochs is None:
        return msgspec.structs.replace(train, steps=DEFAULT_STEPS)
    return train


def _part(table: Mapping[str, Any], where: str, default: str) -> Part:
    name = table.get("name", default)
    if not isinstance(name, str) or not name:
        raise ConfigError("config", f"{where} name = {shown(name)}", "a name", "see `cllm plugins list`")
    return Part(name, {key: value for key, value in table.items() if key != "name"})


def _dist(table: Mapping[str, Any]) -> DistConfig:
    own = {key: value for key, value in table.items() if key == "communicator"}
    dist = to_struct(DistConfig, own, "[dist]")
    return msgspec.structs.replace(dist, options={key: table[key] for key in table if key not in own})


def _labelled(table: Mapping[str, Any], key: str, defaults: Mapping[str, Part]) -> dict[str, Part]:
    """The default parts, then the table's: false leaves a default out, true is a part without options."""
    parts = dict(defaults)
    for label, value in table.items():
        match value:
            case False if label in defaults:
                del parts[label]
            case False:
                came = f"[{key}] {label} = false"
                wanted = f"a default, {' or '.join(defaults)}" if defaults else "a table, or true"
                raise ConfigError("config", came, wanted, did_you_mean(label, defaults, "leave it out"))
            case True:
                parts[label] = _part({}, f"[{key}.{label}]", default=label)
            case Mapping():
                parts[label] = _part(value, f"[{key}.{label}]", default=label)
            case _:
                came = f"[{key}] {label} = {shown(value)}"
                raise ConfigError("config", came, "a table, true or false", f"write [{key}.{label}]")
    return parts
