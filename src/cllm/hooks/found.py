"""Where plugins come from: cllm itself, installed packages, `-p`. Nothing is imported before `load`."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from importlib import metadata
from pathlib import Path

from cllm.errors import PluginError, UsageError, did_you_mean
from cllm.hooks.hookspecs import PROJECT
from cllm.version import __version__

BUILTIN = "builtin"
SEE_LIST = "see `cllm plugins list`"


@dataclass(frozen=True)
class Found:
    """A plugin that is there, whether it works or not."""

    name: str
    distribution: str  # the package that brings it, or the path of its file
    version: str  # of the distribution; of a file, the start of its digest
    location: str
    load: Callable[[], object]
    demanded: bool = False  # named with -p: then an error in it is an error of the command
    is_installed: bool = False  # an installed package brings it, and nobody need have named it

    @property
    def package(self) -> str:
        """The module, or the package of modules, in which its code runs."""
        if self.location.endswith(".py"):
            return _module_of(Path(self.location))
        return self.location.partition(":")[0].partition(".")[0]


def builtin() -> Found:
    """The plugin with cllm's own parts."""
    module = "cllm.builtin"
    return Found(BUILTIN, PROJECT, __version__, module, partial(importlib.import_module, module), demanded=True)


def installed() -> Iterator[Found]:
    """The plugins in the entry-point group "cllm", by name: the order of sys.path decides nothing."""
    try:
        entries = list(metadata.entry_points(group=PROJECT))
    except Exception:  # of one package, plugin or not; then each is asked by itself, which takes longer
        entries, damaged = _entries_one_by_one()
        yield from damaged
    for entry in sorted(entries, key=lambda entry: (entry.name, entry.value)):
        distribution = _name_and_version(entry.dist)
        yield Found(
            entry.name, *distribution, entry.value, partial(_load, entry, distribution[0]), is_installed=True
        )


def _entries_one_by_one() -> tuple[list[metadata.EntryPoint], list[Found]]:
    """Entry points of the packages whose metadata can be read; and the others as plugins that do not work."""
    entries: list[metadata.EntryPoint] = []
    damaged: list[Found] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        place = getattr(distribution, "_path", None)  # it has no public name
        name = place.name.partition("-")[0] if isinstance(place, Path) else ""
        if name in seen:  # one further down sys.path, which is not imported
            continue
        seen.add(name)
        try:
            entries += distribution.entry_points.select(group=PROJECT)
        except Exception as error:
            load = partial(_raise, error)
            damaged.append(Found(name, *_name_and_version(distribution), str(place), load, is_installed=True))
    return entries, damaged


def _name_and_version(distribution: metadata.Distribution | None) -> tuple[str, str]:
    """As the package's metadata says; they may be missing, or no text."""
    try:
        return (distribution.name or "unknown", distribution.version or "unknown") if distribution else ("unknown",) * 2
    except Exception:
        return "unknown", "unknown"


def _load(entry: metadata.EntryPoint, distribution: str) -> object:
    if entry.pattern.match(entry.value) is None:
        came, todo = f"its entry point is {entry.value!r}", "correct it in the package's pyproject.toml"
        raise PluginError(f"plugin {entry.name} ({distribution})", came, '"package.module" or with ":attribute"', todo)
    return entry.load()


def _raise(error: Exception) -> object:
    raise error


def normal(distribution: str) -> str:
    """The name of a package as indexes compare it: cllm-robust, cllm_robust and CLLM.Robust are one."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def named(argument: str) -> Found:
    """The plugin of `-p argument`: a Python file if it ends in .py, else a module. Raises UsageError."""
    if argument.endswith(".py"):
        return _from_file(Path(argument))
    if not all(part.isidentifier() for part in argument.split(".")):
        raise _unknown(argument)
    load = partial(_import_module, argument)
    return Found(argument, f"module {argument}", "unknown", argument, load, demanded=True)


def _from_file(path: Path) -> Found:
    try:
        source = path.read_bytes()
    except OSError as error:
        came = f"{path}: {error.strerror or error}"
        todo = did_you_mean(str(path), (str(one) for one in path.parent.glob("*.py") if one.is_file()),
                            "check the path")
        raise UsageError("-p", came, "a Python file that can be read", todo) from None
    version = blake2b(source, digest_size=8).hexdigest()
    return Found(path.stem, str(path), version, str(path.resolve()), partial(_run_file, path), demanded=True)


def _module_of(path: Path) -> str:
    return f"cllm_plugin_{path.stem}"


def _run_file(path: Path) -> object:
    name = _module_of(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Structs and dataclasses look up the names in their annotations in sys.modules.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _unknown(name) from None
        raise  # the module is there, and misses another


def _unknown(name: str) -> UsageError:
    """The error of a name that no plugin and no module has."""
    others = [*(f"./{path.name}" for path in Path().glob("*.py")), *(plugin.name for plugin in installed())]
    todo = f'did you mean "./{name}.py"?' if f"./{name}.py" in others else did_you_mean(name, others, SEE_LIST)
    return UsageError("-p", f"there is no plugin {name!r}", "a file.py, a module, or no:NAME", todo)
