"""One table of a config to one struct, and what is wrong where that fails; plugins' options too."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from cllm.errors import ConfigError, did_you_mean

S = TypeVar("S", bound=msgspec.Struct)

_PLAIN: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    None: "nothing",
    type(None): "nothing",
}


def to_struct(kind: type[S], table: Mapping[str, Any], where: str) -> S:
    """Return `table`, which stands at `where` (such as "[train]"), as a `kind`. Raises ConfigError."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            raise unknown_key(where, key, fields)
        _check_tables(value, fields[key].type, f"{where} {key}")
        _check_value(value, fields[key].type, f"{where} {key}")
    for key, field in fields.items():
        if field.required and key not in table:
            raise ConfigError("config", f"{where} without {key}", expected(field.type), f"add {key}")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:  # what the struct itself refuses, in its __post_init__
        raise ConfigError("config", f"{where}: {error}", "values that fit together", "change one") from None


def unknown_key(where: str, key: str, known: Iterable[str]) -> ConfigError:
    """The error of a key that a table does not have."""
    names = sorted(known)
    if not names:
        return ConfigError("config", f"{where} {key}", "no options at all", f"remove {key}")
    return ConfigError("config", f"{where} has no {key!r}", choices(names), did_you_mean(key, names))


def choices(names: Iterable[str]) -> str:
    """The names as an error lists them."""
    return f"one of {', '.join(names)}"


def shown(value: object) -> str:
    """A value as TOML would write it, cut where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def expected(kind: Any) -> str:
    """A type in words: its msgspec description where it has one."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, *notes = get_args(kind)
        metas = [note for note in notes if isinstance(note, msgspec.Meta)]
        described = [meta.description for meta in metas if meta.description]
        return described[-1] if described else expected(base) + "".join(map(_bounds, metas))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(expected(one) for one in get_args(kind) if one is not type(None)))
    if origin is Literal:
        return choices(map(str, get_args(kind)))
    if origin in (list, tuple):
        return _expected_list(origin, get_args(kind))
    if _is_struct(kind):
        return f"a table of {', '.join(field.encode_name for field in msgspec.structs.fields(kind))}"
    return _PLAIN.get(origin or kind, str(kind))


def _expected_list(origin: type, items: tuple[Any, ...]) -> str:
    if origin is tuple and items and items[-1] is not Ellipsis:
        return f"a list of {len(items)}: {', '.join(map(expected, items))}"
    return f"a list, each {expected(items[0])}" if items else "a list"


def _bounds(meta: msgspec.Meta) -> str:
    bounds = (("at least", meta.ge), ("above", meta.gt), ("at most", meta.le), ("below", meta.lt))
    return "".join(f", {word} {bound}" for word, bound in bounds if bound is not None)


def _check_tables(value: object, kind: Any, where: str) -> None:
    """Tables inside a value, alone or in a list, are checked key by key, so that errors name the key."""
    for member in _members(kind):
        if _is_struct(member) and isinstance(value, Mapping):
            to_struct(member, value, where)
        elif get_origin(member) is list and isinstance(value, list):
            for number, item in enumerate(value):
                _check_tables(item, get_args(member)[0], f"{where}[{number}]")


def _check_value(value: object, kind: Any, where: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        for number, (item, item_kind) in enumerate(_items(value, kind)):
            _check_value(item, item_kind, f"{where}[{number}]")
        raise ConfigError("config", f"{where} = {shown(value)}", expected(kind), _advice(value, kind)) from None


def _items(value: object, kind: Any) -> list[tuple[Any, Any]]:
    """The items of a list, each with the kind that it should be; none where `kind` is no list of that length."""
    if not isinstance(value, list):
        return []
    for member in _members(kind):
        kinds = get_args(member)
        if get_origin(member) is list or kinds[1:] == (Ellipsis,):
            return [(item, kinds[0]) for item in value]
        if get_origin(member) is tuple and len(kinds) == len(value):
            return list(zip(value, kinds, strict=True))
    return []


def _advice(value: object, kind: Any) -> str:
    accepted = _members(kind)
    if accepted in ((None,), (type(None),)):
        return "remove it"
    if isinstance(value, str):
        words = [str(word) for one in accepted if get_origin(one) is Literal for word in get_args(one)]
        return did_you_mean(value, words) if words else "write it without quotes, or correct it"
    if isinstance(value, float) and value.is_integer() and int in accepted:
        return f"write {int(value)}"
    if not isinstance(value, bool | list | Mapping) and str in accepted:
        return f'write "{value}", with quotes'
    return "choose another value"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _members(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(member for one in get_args(kind) for member in _members(one))
    return (kind,)
