"""Writes the package of a new plugin, which works as it is: `cllm plugins new`. Its files come from templates/."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from cllm.errors import PluginError, UsageError, did_you_mean
from cllm.include import get_include
from cllm.newfolder import new_folder

TEMPLATES = Path(__file__).resolve().parent / "templates"
WHO = "plugins new"
NAME = re.compile(r"(?=.{1,30}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Kind:
    """What the package of a kind brings: its file, what is in it, and how a run names it."""

    file: str  # the module with the part, and the name of its test
    suffix: str  # the part is called NAME.suffix
    summary: str
    setting: str  # by which a run uses the part, $part
    spec: str
    hook: str
    factory: str
    config: str = ""  # further arguments of the spec
    folder: str = ""  # of templates; "": that of the kind
    is_compiled: bool = False
    use: str = "cllm train --data book.txt --set $setting"


OPTIONS = ', f"{module}:Config"'
KINDS: Mapping[str, Kind] = {
    "dataset": Kind(
        "loader", "records", "texts of a file, with a line of % between two", "data.loader=$part", "DatasetSpec",
        "cllm_register_datasets", "Loader", OPTIONS, use="cllm prepare $part quotes.txt --out data/quotes",
    ),
    "tokenizer": Kind(
        "tokenizer", "ascii", "the characters of ASCII, and one id for all others", "data.tokenizer=$part",
        "TokenizerSpec", "cllm_register_tokenizers", "Tokenizer",
    ),
    "model": Kind(
        "family", "parallel", "GPT-2 with attention and perceptron side by side", "model.family=$part", "ModelSpec",
        "cllm_register_models", "build", ', options=f"{module}:options"',
    ),
    "initializer": Kind(
        "initializer", "lecun", "every matrix by what it reads", "initializer.name=$part", "InitializerSpec",
        "cllm_register_initializers", "Initializer", OPTIONS,
    ),
    "reducer": Kind(
        "reducer", "agreeing", "the sum where all shards agree on its sign", "reducer.name=$part", "ReducerSpec",
        "cllm_register_reducers", "Reducer",
    ),
    "check": Kind(
        "check", "ratio", "skips steps whose loss leaps above the least", "checks.ratio.name=$part", "CheckSpec",
        "cllm_register_stability_checks", "Check", OPTIONS,
    ),
    "optimizer": Kind(
        "optimizer", "signum", "steps of the momentum's sign", "optimizer.name=$part", "OptimizerSpec",
        "cllm_register_optimizers", "Optimizer", OPTIONS,
    ),
    "schedule": Kind(
        "schedule", "rsqrt", "warm-up, then down with the square root", "schedule.name=$part", "ScheduleSpec",
        "cllm_register_schedules", "Schedule", OPTIONS,
    ),
    "sink": Kind(
        "sink", "prometheus", "a file with the newest numbers, for Prometheus", "sinks.prom.name=$part", "SinkSpec",
        "cllm_register_sinks", "Sink", OPTIONS,
    ),
    "metric": Kind(
        "metric", "entropy", "the entropy of a batch's targets, in nats", "metrics.entropy.name=$part", "MetricSpec",
        "cllm_register_metrics", "Metric",
    ),
    "communicator": Kind(
        "communicator", "sockets", "ranks that are joined by sockets", "dist.communicator=$part", "CommunicatorSpec",
        "cllm_register_communicators", "Communicator", OPTIONS,
    ),
    "op": Kind(
        "op", "gpt2", "GPT-2 with squared ReLU, an op of its own", "model.family=$part", "ModelSpec",
        "cllm_register_models", "build", ', options=f"{module}:options"', is_compiled=True,
    ),
}
COMPILED: Mapping[str, Kind] = {
    "reducer": Kind(
        "reducer", "agreeing", "the sum where all shards agree on its sign, compiled", "reducer.name=$part",
        "ReducerSpec", "cllm_register_reducers", "Reducer", folder="reducer-compiled", is_compiled=True,
    ),
    "check": Kind(
        "check", "largest", "skips steps with a large element in the gradient", "checks.largest.name=$part",
        "CheckSpec", "cllm_register_stability_checks", "Check", OPTIONS, folder="check-compiled", is_compiled=True,
    ),
    "op": KINDS["op"],
}


def create(kind: str, name: str, compiled: bool, out: Path | None, taken: Iterable[str]) -> Path:
    """Write the package cllm-NAME to `out`, or to a folder of that name here; returns where it is.

    taken: names of plugins and beginnings of parts that are there already. Raises UsageError for what makes no
    package, and PluginError where the folder is in use or cannot be written.
    """
    what = _kind(kind, compiled)
    check_name(name, set(taken))
    out = Path(f"cllm-{name}") if out is None else out
    words = _words(kind, name, what)
    with new_folder(out, PluginError, WHO) as folder:
        for target, source in _files(kind, what, words["module"]):
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(source.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        (folder / "src" / words["module"] / "py.typed").touch()
        if what.is_compiled:
            shutil.copytree(Path(get_include()) / "cllm", folder / "include" / "cllm")
    return out


def use(kind: str, name: str, compiled: bool) -> str:
    """The command that uses the part of such a package."""
    return _words(kind, name, _kind(kind, compiled))["use"]


def _kind(kind: str, compiled: bool) -> Kind:
    kinds = COMPILED if compiled else KINDS
    if kind in kinds:
        return kinds[kind]
    came = f"a compiled {kind}" if kind in KINDS else f"{kind!r}"
    raise UsageError(WHO, came, f"one of {', '.join(kinds)}", did_you_mean(kind, kinds))


def check_name(name: str, taken: set[str]) -> None:
    """Raises UsageError for a name that makes no package, or that something has already."""
    if NAME.fullmatch(name) is None or name.startswith("cllm"):
        expected = "at most 30 small letters and digits, with - between words, without cllm"
        raise UsageError(WHO, f"the name {name!r}", expected, "as in robust, for the package cllm-robust")
    module = f"cllm_{name.replace('-', '_')}"
    if name in taken or importlib.util.find_spec(module) is not None:
        came = f"the name {name!r}, which is taken"
        raise UsageError(WHO, came, "a name that no plugin, part or module has", "choose another")


def _words(kind: str, name: str, what: Kind) -> dict[str, str]:
    """What stands for the $words of the templates."""
    words = {
        "kind": kind, "listed": "model" if kind == "op" else kind, "name": name,
        "distribution": f"cllm-{name}", "module": f"cllm_{name.replace('-', '_')}",
        "file": "family" if kind == "op" else what.file, "part": f"{name}.{what.suffix}", "summary": what.summary,
        "source": what.file, "spec": what.spec, "hook": what.hook, "factory": what.factory,
    }
    for word in ("setting", "config", "use"):
        words[word] = Template(getattr(what, word)).substitute(words)
    return words


def _files(kind: str, what: Kind, module: str) -> Iterable[tuple[str, Path]]:
    """Of each file of the package: its place, and its template. A kind's own goes before the shared one."""
    own, shared = TEMPLATES / (what.folder or kind), TEMPLATES / "shared"
    build = TEMPLATES / ("compiled" if what.is_compiled else "python")
    for source in sorted(build.glob("*.in")):
        name = source.name.removesuffix(".in")
        yield (f"src/{module}/_{what.file}.pyi" if name == "stub.pyi" else name), source
    chosen = {source.name: source for source in [*shared.iterdir(), *own.iterdir()]}
    for template, source in sorted(chosen.items()):
        name = template.removesuffix(".in")
        is_test = name.startswith(("test_", "conftest"))
        yield (name if name == "README.md" else f"tests/{name}" if is_test else f"src/{module}/{name}"), source
