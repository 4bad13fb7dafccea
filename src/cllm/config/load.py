"""Config files and overrides, laid over each other; and a Config written back as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from cllm.bounded import LARGEST_CONFIG, read_at_most
from cllm.config.build import from_mapping
from cllm.config.convert import shown
from cllm.config.plain import plain
from cllm.config.schema import DEFAULT_CHECKS, DEFAULT_SINKS, Config, Part
from cllm.errors import ConfigError, check_kind

# Keys that exclude each other, by table: a layer that gives one takes away the others of the layers below it, so that
# `--set train.epochs=3` needs no way to unset train.steps. All overrides together are one layer.
ALTERNATIVES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "train": (("steps",), ("epochs",)),
    "data": (("path",), ("loader", "source", "options"), ("mixture",)),
}


def load_config(
    path: str | Path | None = None, overrides: list[str] | tuple[str, ...] = (), base: Mapping[str, Any] | None = None
) -> Config:
    """Return the config of `base`, the TOML file `path` and the `overrides` together, each laid over the ones before.

    An override is "table.key=value", the value in TOML or else plain text. Raises ConfigError.
    """
    if path is not None:
        check_kind(ConfigError, "load_config", "path", path, str | Path, "a path, or None", 'as in "configs/mine.toml"')
    check_kind(
        ConfigError, "load_config", "overrides", overrides, list | tuple, 'a list of "table.key=value"',
        'as in ["train.steps=2000"]',
    )
    check_kind(ConfigError, "load_config", "base", base, Mapping | None, "a dict of tables, or None", "leave it out")
    given: dict[str, Any] = {}
    for override in map(parse_override, overrides):
        given = _laid_over(given, plain(override))
    merged: dict[str, Any] = {}
    for layer in (plain(base or {}), plain(read_toml(Path(path))) if path is not None else {}, given):
        merged = _laid_over(_without_alternatives(merged, layer), layer)
    return from_mapping(merged)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file. Raises ConfigError with the file and the line."""
    try:
        return tomllib.loads(read_at_most(path, LARGEST_CONFIG).decode("utf-8"))
    except OSError as error:
        came = f"{path}: {error.strerror or error}"
        raise ConfigError("config", came, "a TOML file that can be read", "check the path") from None
    except (ValueError, RecursionError) as error:
        came = f"{path}: {error}"
        raise ConfigError("config", came, "TOML in UTF-8", "correct the file; text wants quotes") from None


def parse_override(override: str) -> dict[str, Any]:
    """Return "table.key=value" as nested tables. Raises ConfigError where it has no key or no value."""
    wanted, example = "table.key=value", "as in train.steps=2000"
    check_kind(ConfigError, "config", "an override", override, str, wanted, example)
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ConfigError("config", f"the override {override!r}", wanted, example)
    nested: Any = _value(text.strip())
    for key in reversed(keys):
        nested = {key: nested}
    result: dict[str, Any] = nested
    return result


def to_toml(config: Config) -> str:
    """Return `config`, all defaults written out, as TOML from which load_config makes an equal one."""
    return tomli_w.dumps(to_mapping(config))


def to_mapping(config: Config) -> dict[str, Any]:
    """Return `config` as the tables of its TOML form: options beside names, nothing that is None."""
    tables: dict[str, Any] = msgspec.to_builtins(config)
    for key in ("initializer", "optimizer", "schedule", "reducer"):
        tables[key] = _part_table(getattr(config, key))
    for key, defaults in (("checks", DEFAULT_CHECKS), ("sinks", DEFAULT_SINKS)):
        absent = {label: False for label in defaults if label not in tables[key]}
        tables[key] = absent | {label: _part_table(part) for label, part in getattr(config, key).items()}
    tables["metrics"] = {label: _part_table(part) for label, part in config.metrics.items()}
    if not config.metrics:
        del tables["metrics"]
    tables["dist"] = {"communicator": config.dist.communicator, **tables["dist"]["options"]}
    for key in ("options", "tokenizer_options"):
        if not tables["data"][key]:
            del tables["data"][key]
    mapping: dict[str, Any] = _without_none(tables)
    return mapping


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = parsed["value"]
    # Text that only looks like more than a value (a line break and another key), or like a date, is text.
    is_value = len(parsed) == 1 and isinstance(value, bool | int | float | str | list | dict)
    return value if is_value else text


def _laid_over(lower: Mapping[str, Any], upper: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key, value)
        tables = isinstance(below, Mapping), isinstance(value, Mapping)
        if any(tables) and not all(tables):
            _refuse_half_a_table(f"{where}{key}", below if tables[1] else value)
        merged[key] = _laid_over(below, value, f"{where}{key}.") if all(tables) else value
    return merged


def _refuse_half_a_table(name: str, value: object) -> None:
    """A value would take a whole table away, or a table a value, without a word."""
    if not isinstance(value, bool):  # checks and sinks are switched on and off so
        came = f"{name} = {shown(value)}, and keys below {name}"
        raise ConfigError("config", came, "a value or a table", f"leave one out, or set a key, as in {name}.KEY=VALUE")


def _without_alternatives(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(lower)
    for table, groups in ALTERNATIVES.items():
        given, below = upper.get(table), lower.get(table)
        if not isinstance(given, Mapping) or not isinstance(below, Mapping):
            continue
        chosen = [group for group in groups if any(key in given for key in group)]
        dropped = {key for group in groups if chosen and group not in chosen for key in group}
        kept[table] = {key: value for key, value in below.items() if key not in dropped}
    return _without_other_communicator(kept, upper)


def _without_other_communicator(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Options of one communicator are none of another, with which a run may go on."""
    given, below = upper.get("dist"), lower.get("dist")
    if not isinstance(given, Mapping) or not isinstance(below, Mapping):
        return dict(lower)
    stays = given.get("communicator") in (None, below.get("communicator"))
    return dict(lower) if stays else {**lower, "dist": {}}


def _part_table(part: Part) -> dict[str, Any]:
    return {"name": part.name, **msgspec.to_builtins(part.options)}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value
