"""From a spec and the options in a config to the object: references imported, options checked, the factory called."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cllm.config import ModelConfig, to_struct
from cllm.config.convert import expected, unknown_key
from cllm.errors import CllmError, ConfigError, PluginError
from cllm.hooks.protocols import PHASES
from cllm.hooks.specs import ModelSpec, Spec
from cllm.opened import open_check, open_reducer

# What an object of each kind must have; the protocols say what for.
METHODS: Mapping[str, tuple[str, ...]] = {
    "dataset": ("documents",),
    "check": (),  # one of PHASES
    "initializer": ("values",),
    "optimizer": ("learning_rate", "init", "step", "state_dict", "load_state_dict"),
    "schedule": ("__call__",),
    "sink": ("emit", "close"),
    "metric": ("measure",),
    "reducer": ("kind",),
    "fold": ("merge", "finish"),
    "gather": ("combine",),
    "communicator": ("rank", "size", "fast", "tell", "exchange", "gather", "add_up", "abort"),
}


@dataclass(frozen=True)
class Registered:
    """A spec and the plugin that brought it."""

    spec: Spec
    plugin: str
    distribution: str

    def options(self, given: Mapping[str, Any], where: str, offers: Mapping[str, Any]) -> msgspec.Struct | None:
        """Return the options as the spec's config, None if it has none. Raises ConfigError that begins with `where`.

        `offers` are values of the host: a field of that name that is not given takes one.
        """
        if self.spec.config is None:
            for key in given:
                raise unknown_key(where, key, ())
            return None
        kind: type[msgspec.Struct] = self._resolved(self.spec.config)
        taken = dict(given)
        for field in msgspec.structs.fields(kind):
            offer = offers.get(field.encode_name)
            if offer is not None:
                taken.setdefault(field.encode_name, offer)
            elif field.encode_name in offers and field.required and field.encode_name not in given:
                came = f"{self.spec.kind} {self.spec.name} without {field.encode_name}"
                raise ConfigError("config", came, expected(field.type), f"add {field.encode_name}")
        return to_struct(kind, taken, where)

    def requires(self, option: str) -> bool:
        """Whether there is such an option, without a default. Raises PluginError."""
        if self.spec.config is None:
            return False
        fields = msgspec.structs.fields(self._resolved(self.spec.config))
        return any(field.encode_name == option and field.required for field in fields)

    def factory(self) -> Callable[..., Any]:
        """Return the factory, imported if it was a reference. Raises PluginError."""
        factory: Callable[..., Any] = self._resolved(self.spec.factory)
        return factory

    def family_options(self, model: ModelConfig) -> Mapping[str, Any] | None:
        """Return the options that a model family has, with their defaults for this shape; None: it does not say."""
        assert isinstance(self.spec, ModelSpec)
        if self.spec.options is None:
            return None
        options: Mapping[str, Any] = self._resolved(self.spec.options)(model)
        return options

    def make(self, given: Mapping[str, Any], where: str, offers: Mapping[str, Any]) -> Any:
        """Return the object. Raises ConfigError for wrong options and PluginError for a plugin that fails."""
        options = self.options(given, where, offers)
        factory = self.factory()
        try:
            made = factory() if options is None else factory(options)
        except CllmError:
            raise
        except Exception as error:
            raise self._failed(f"its factory raised {problem(error)}") from error
        check_shape(self.spec.kind, made, f"{self.spec.kind} {self.spec.name} ({self.distribution})")
        return made

    def _resolved(self, reference: Any) -> Any:
        if not isinstance(reference, str):
            return reference
        module, _, attribute = reference.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except CllmError:
            raise
        except (Exception, SystemExit) as error:
            raise self._failed(f"{reference} cannot be imported: {problem(error)}") from error

    def _failed(self, came: str) -> PluginError:
        who = f"{self.spec.kind} {self.spec.name} ({self.distribution})"
        return PluginError(who, came, "a working plugin", f"mend or update it, or `-p no:{self.plugin}`")


def check_shape(kind: str, made: object, who: str) -> None:
    """Raises PluginError where `made` lacks something that every object of its kind has."""
    if isinstance(made, type):
        raise PluginError(who, f"the class {made.__name__}", "an object", f"call it: {made.__name__}(...)")
    missing = [name for name in METHODS.get(kind, ()) if not hasattr(made, name)]
    if missing:
        came = f"a {type(made).__name__} without {' and '.join(missing)}"
        raise PluginError(who, came, f"{', '.join(METHODS[kind])}", "see the protocols in cllm.hooks")
    if kind == "check" and not any(hasattr(made, phase) for phase in PHASES):
        came = f"a {type(made).__name__} without any of its methods"
        raise PluginError(who, came, " or ".join(PHASES), "see the protocols in cllm.hooks")
    if kind == "reducer":
        which = getattr(made, "kind", None)
        if which not in ("fold", "gather"):
            raise PluginError(who, f"kind = {which!r}", '"fold" or "gather"', "see the protocols in cllm.hooks")
        if open_reducer(made, who) is None:
            check_shape(str(which), made, who)
    if kind == "check" and open_check(made, who) and not hasattr(made, "after_scan"):
        came = f"a {type(made).__name__} with __cllm_check__ and without after_scan"
        raise PluginError(who, came, "after_scan(view, found)", "see the protocols in cllm.hooks")
    size = getattr(made, "bytes_per_parameter", 0) if kind == "optimizer" else 0
    if not isinstance(size, int | float) or not 0 <= size < float("inf"):
        raise PluginError(who, f"bytes_per_parameter = {size!r}", "0 or more", "see the protocols in cllm.hooks")


def problem(error: BaseException, part: object = None) -> str:
    """An exception of a plugin in one line, with the file and line where it was raised.

    part: the object that was called; then the last line in the code of its package, whatever that has called.
    """
    text = f"{type(error).__name__}: {error}".replace("\n", " ")
    frames = list(traceback.walk_tb(error.__traceback__))
    package = type(part).__module__.partition(".")[0]
    own = [place for place in frames if place[0].f_globals.get("__name__", "").partition(".")[0] == package]
    if not frames:
        return text
    frame, line = (own or frames)[-1]
    return f"{text} ({Path(frame.f_code.co_filename).name}:{line})"
