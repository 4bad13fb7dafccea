"""What a config can hold: what its config.toml gives back as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from cllm.config.convert import shown
from cllm.errors import ConfigError

DEEPEST = 32  # tables in tables; a key of 1,000 parts would exhaust the stack of whatever walks it
MOST_BITS = 1000  # of a whole number; Python neither prints nor reads one of 5,000 digits


def plain(value: Any, where: str = "", depth: int = 0) -> Any:
    """`value` as TOML gives it back: dates as text, as in overrides; tuples as lists; keys that are None left out.

    Raises ConfigError for what TOML cannot hold, for NaN and infinity, which no option means, and for what lies so
    deep that it can only be a mistake.
    """
    if depth > DEEPEST:
        raise _refused(f"{where[:60]}... is more than {DEEPEST} deep", "the few levels of a config")
    if isinstance(value, Mapping):
        items = {_key(key, where): item for key, item in value.items() if item is not None}
        return {key: plain(item, f"{where}.{key}" if where else key, depth + 1) for key, item in items.items()}
    if isinstance(value, list | tuple):
        return [plain(item, where, depth + 1) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    _check_scalar(value, where)
    return value


def _check_scalar(value: object, where: str) -> None:
    if not isinstance(value, bool | int | float | str):
        came = f"{where} = {shown(value)}, of type {type(value).__name__}"
        raise _refused(came, "what TOML can hold: text, a number, true or false, a list, a table")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refused(f"{where} = {value}", "a finite number")
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise _refused(f"{where} = a number of {value.bit_length()} bits", f"at most {MOST_BITS}")
    if isinstance(value, str) and not _is_utf8(value):
        raise _refused(f"{where} = {value!a}", "text in UTF-8")


def _key(key: object, where: str) -> str:
    if not isinstance(key, str) or not _is_utf8(key):
        raise _refused(f"the key {key!a} in {where or 'the config'}", "text in UTF-8")
    return key


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(came: str, expected: str) -> ConfigError:
    return ConfigError("config", came, expected, "correct it")
