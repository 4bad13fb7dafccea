"""Makes the tables of docs/reference/python.md: public names, their signatures and what their docstrings say."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import cllm
from cllm import data, errors, hooks, kernels, testing
from tests.docs.layout import code, line, table

ABOUT = {"__version__": "The version of the installed package, such as `0.1.0`."}  # values have no docstrings


def top() -> Iterator[str]:
    """Each name of `cllm`, and of its classes the methods and fields."""
    for name in cllm.__all__:
        value = getattr(cllm, name)
        yield f"\n### {name}\n" if not name.startswith("_") else f"\n### `{name}`\n"
        if inspect.isclass(value):
            yield from _class(name, value)
        elif inspect.isfunction(value):
            yield f"{code(_call(name, value))}\n\n{paragraphs(value)}"
        else:
            yield ABOUT[name]


def hook_names() -> Iterator[str]:
    yield from table(("Name", "What it is"), ((code(name), _what(getattr(hooks, name))) for name in hooks.__all__))


def error_classes() -> Iterator[str]:
    """All errors, the base first, with the exit code of a command that ends in one."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.CllmError)]
    rows = ((code(k.__name__), code(k.__base__.__name__), str(k.exit_code), _first(k)) for k in kinds)
    yield from table(("Error", "Is a", "Exit code", "When"), rows)


def kernel_functions() -> Iterator[str]:
    for name in kernels.__all__:
        value = getattr(kernels, name)
        if inspect.isfunction(value):
            yield f"- {code(_names(name, value))}: {line(value.__doc__)}"


def testing_names() -> Iterator[str]:
    """The functions that hold parts to what cllm asks of them, each with what that is."""
    for name in testing.__all__:
        value = getattr(testing, name)
        if name.startswith("check_"):
            yield f"\n### {name}\n\n{code(_call(name, value))}\n\n{paragraphs(value)}"


def data_names() -> Iterator[str]:
    yield from table(("Name", "What it is"), ((code(name), _what(getattr(data, name))) for name in data.__all__))


def paragraphs(value: Any) -> str:
    """A docstring as paragraphs, each one line, as is each point of a list; an indented piece is code."""
    pieces = re.split(r"\n\s*\n", inspect.getdoc(value) or "")
    assert pieces != [""], f"{value} has no docstring"
    return "\n\n".join(map(_paragraph, pieces))


def _paragraph(piece: str) -> str:
    if piece.startswith("    "):
        return piece
    if piece.startswith("- "):
        return "\n".join(f"- {' '.join(point.split())}" for point in re.split(r"(?:^|\n)- ", piece)[1:])
    return " ".join(piece.split())


def _class(name: str, kind: type) -> Iterator[str]:
    if not dataclasses.is_dataclass(kind):
        yield f"{code(_call(name, kind.__init__))}\n"  # type: ignore[misc]
    yield paragraphs(kind) + "\n"
    if dataclasses.is_dataclass(kind):
        found = re.findall(r"^    (\w+): (.+?)(?: = .*?)?(?:  # (.*))?$", inspect.getsource(kind), re.MULTILINE)
        yield from table(("Field", "Type", "Meaning"), ((code(n), code(t), m) for n, t, m in found))
        yield ""
    for method, value in vars(kind).items():
        public = not method.startswith("_") or method == "__iter__"
        if isinstance(value, property) and public:
            yield f"- {code(method)}, an attribute: {line(value.fget.__doc__)}"
        elif public and (function := _function(value)) is not None:
            shown = f"iter({name.lower()})" if method == "__iter__" else _call(method, function)
            yield f"- {code(shown)}: {line(function.__doc__ or _see(method))}"


def _function(value: object) -> FunctionType | None:
    unwrapped = inspect.unwrap(value) if callable(value) else None
    return unwrapped if isinstance(unwrapped, FunctionType) else None


def _see(method: str) -> str:
    raise AssertionError(f"{method} is public and has no docstring")


def _call(name: str, function: Any) -> str:
    """name(argument: type = default) -> type"""
    signature = inspect.signature(inspect.unwrap(function))
    shown, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        shown.append(f"{parameter.name}: {parameter.annotation}{default}")
    result = "" if signature.return_annotation in (signature.empty, "None") else f" -> {signature.return_annotation}"
    return f"{name}({', '.join(shown)}){result}"


def _names(name: str, function: Any) -> str:
    return f"{name}({', '.join(inspect.signature(function).parameters)})"


def _what(value: Any) -> str:
    """The first sentence of a docstring; of a union, what it is of."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return _first(value)
    members = getattr(value, "__args__", ())
    names = [code(getattr(member, "__name__", str(member))) for member in members]
    return f"one of {', '.join(names)}" if names else "marks a hook's function"


def _first(value: Any) -> str:
    return line((inspect.getdoc(value) or "").partition("\n\n")[0]).removesuffix(":")
