"""Makes the tables of docs from the code: `python -m tests.docs.reference` writes them into the pages.

A table stands between `<!-- made by tests/docs/reference.py: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_origin

import msgspec

from cllm import env
from cllm.cli import COMMANDS
from cllm.config import FREE_ON_RESUME, NUMERIC_KEYS, schema
from cllm.config.convert import expected
from cllm.config.presets import PRESETS, SIZES
from cllm.hooks import hookspecs, protocols, reports
from cllm.hooks.manager import build_manager
from tests.docs.abi import constants as abi_constants
from tests.docs.abi import contract as abi_contract
from tests.docs.abi import structs as abi_structs
from tests.docs.api import data_names, error_classes, hook_names, kernel_functions, testing_names, top
from tests.docs.layout import code, fenced, line, table
from tests.docs.markdown import ROOT
from tests.kernels.elementary import FUNCTIONS, POW_LARGEST_ERROR
from tests.kernels.elementary64 import FUNCTIONS64

DOCS = ROOT / "docs"
FOLDER = DOCS / "reference"
TABLE = re.compile(r"(<!-- made by tests/docs/reference.py: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
PROTOCOLS = (
    "Dataset", "Tokenizer", "Initializer", "FoldReducer", "GatherReducer", "StabilityCheck", "Optimizer", "Schedule",
    "Sink", "Metric", "Communicator",
)
STRUCTS = (
    schema.ModelConfig, schema.DataConfig, schema.MixturePart, schema.TrainConfig, schema.CheckpointConfig,
    schema.DistConfig, schema.PluginsConfig,
)


def commands() -> Iterator[str]:
    for name, summary in COMMANDS:
        module = importlib.import_module(f"cllm.cli.{name}")
        parser = argparse.ArgumentParser(add_help=False)
        module.add_arguments(parser)
        yield f"\n## cllm {name}\n\n{_sentence(summary)}\n"
        yield from table(("Argument", "Meaning"), map(_argument, parser._actions))
        yield "\n" + fenced(module.EXAMPLE.partition("\n")[2])


def whole() -> Iterator[str]:
    """What stands at the top of a config file."""
    _, meanings = _documented(schema.Config)
    fields = msgspec.structs.fields(schema.Config)
    yield from table(("At the top", "Meaning"), ((code(_top(f)), meanings[f.name]) for f in fields))


def _top(field: msgspec.structs.FieldInfo) -> str:
    if field.type is schema.RunName:
        return field.name
    return f"[{field.name}.LABEL]" if get_origin(field.type) is dict else f"[{field.name}]"


def config() -> Iterator[str]:
    for kind in STRUCTS:
        heading, meanings = _documented(kind)
        name, _, what = heading.partition("] ")
        yield f"\n### {name}]\n\n{what}\n"
        yield from table(
            ("Key", "Default", "Value", "Meaning"),
            ((code(f.name), _default(f), expected(f.type), meanings[f.name]) for f in msgspec.structs.fields(kind)),
        )


def presets() -> Iterator[str]:
    yield from table(("Preset", *map(code, SIZES)), ((code(name), *map(str, PRESETS[name])) for name in PRESETS))


def parts() -> Iterator[str]:
    """Every built-in part that a config can name, with its options."""
    plugins = build_manager()
    for kind in (
        "dataset", "tokenizer", "model", "initializer", "optimizer", "schedule", "reducer", "check", "sink",
        "communicator",
    ):
        yield f"\n### {kind}\n"
        rows = []
        for name in plugins.names(kind):
            registered = plugins.find(kind, name)
            if registered.distribution == "cllm":
                rows.append((code(name), registered.spec.summary, _options(registered.spec.config)))
        yield from table(("Name", "What it is", "Options and defaults"), rows)


def resume() -> Iterator[str]:
    lists = {"These decide bits, and are refused if they differ": NUMERIC_KEYS, "These are free": FREE_ON_RESUME}
    for what, keys in lists.items():
        names = ", ".join(code(f"{key}*" if key.endswith(".") else key) for key in keys)
        yield from ("", *textwrap.wrap(f"{what}: {names}.", 118, break_long_words=False, break_on_hyphens=False))


def hooks() -> Iterator[str]:
    for name, function in vars(hookspecs).items():
        if name.startswith("cllm_"):
            arguments = ", ".join(_annotated(p) for p in inspect.signature(function).parameters.values())
            yield f"- `{name}({arguments})`: {line(function.__doc__)}"


def protocol_methods() -> Iterator[str]:
    for name in PROTOCOLS:
        protocol = getattr(protocols, name)
        yield f"\n### {name}\n\n{line(protocol.__doc__)}\n"
        for method, value in vars(protocol).items():
            if method.startswith("_") and method != "__call__":
                continue
            if isinstance(value, property):
                yield f"- `{method}`, an attribute{_after(value.fget.__doc__)}"
            elif isinstance(value, classmethod) or inspect.isfunction(value):
                function = value.__func__ if isinstance(value, classmethod) else value
                names = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
                yield f"- `{method}({', '.join(names)})`{_after(function.__doc__)}"


def values() -> Iterator[str]:
    for kind in (
        reports.ShardView, reports.GradientView, reports.Magnitude, reports.Past, reports.UpdateView,
        reports.UpdatedView, reports.BatchView, reports.StepReport, reports.RunInfo,
    ):
        yield f"\n### {kind.__name__}\n\n{line(kind.__doc__)}\n"
        lines = re.findall(r"^    (\w+): (.+?)(?:  # (.*))?$", inspect.getsource(kind), re.MULTILINE)
        yield from table(("Field", "Type", "Meaning"), ((code(n), code(t), m) for n, t, m in lines))


def variables() -> Iterator[str]:
    yield from table(("Variable", "Values", "Meaning"), ((code(v.name), v.values, v.summary) for v in env.VARIABLES))


def ulps() -> Iterator[str]:
    """The largest errors, as the tests hold them."""
    double = {function.name: function.largest_error for function in FUNCTIONS64}
    single = {function.name: function.largest_error for function in FUNCTIONS} | {"pow": POW_LARGEST_ERROR}
    rows = ((code(name), str(error), str(double.get(name, ""))) for name, error in single.items())
    yield from table(("Function", "float32", "float64"), rows)


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands, "whole": whole, "config": config, "presets": presets, "resume": resume, "parts": parts,
    "hooks": hooks, "protocols": protocol_methods, "values": values, "variables": variables,
    "api": top, "hook_names": hook_names, "errors": error_classes, "kernels": kernel_functions,
    "data_names": data_names, "testing": testing_names, "ulps": ulps,
    "abi_contract": abi_contract, "abi_structs": abi_structs, "abi_constants": abi_constants,
}


def filled(text: str) -> str:
    """The text of a page with its tables as the code has them now."""
    return TABLE.sub(lambda match: f"{match[1]}{chr(10).join(TABLES[match[2]]()).strip(chr(10))}\n{match[3]}", text)


def _argument(action: argparse.Action) -> tuple[str, str]:
    name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    takes = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
    choices = f"one of {', '.join(map(str, action.choices))}" if action.choices else ""
    return code(name + takes), (action.help or choices or "a run folder")


def _documented(kind: type) -> tuple[str, dict[str, str]]:
    """The first line of a struct's docstring, and what it says of each key."""
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    meanings = dict(line.split(": ", 1) for line in lines if re.match(r"\w+: ", line))
    return lines[0], meanings


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "none" if value in (None, {}) else code(schema_text(value))


def schema_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)


def _options(config: Any) -> str:
    if config is None:
        return "none"
    if isinstance(config, str):
        module, _, attribute = config.partition(":")
        config = getattr(importlib.import_module(module), attribute)
    return ", ".join(f"{code(field.name)} {_default(field)}" for field in msgspec.structs.fields(config))


def _annotated(parameter: inspect.Parameter) -> str:
    return f"{parameter.name}: {parameter.annotation}"


def _after(text: str | None) -> str:
    return f": {line(text)}" if text else ""


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def pages() -> list[Path]:
    return [page for page in sorted(DOCS.rglob("*.md")) if TABLE.search(page.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
