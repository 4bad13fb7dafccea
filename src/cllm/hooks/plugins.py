"""The plugins of a process: what they provide, and the parts of a run made by the names in a config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from cllm.config import FAMILY_OPTIONS, Config, DistConfig, ModelConfig, Part
from cllm.config.convert import choices, shown
from cllm.errors import ConfigError, did_you_mean
from cllm.hooks.calling import Events, Sinks
from cllm.hooks.hookspecs import PROJECT
from cllm.hooks.making import Registered
from cllm.hooks.metrics import Metrics
from cllm.hooks.protocols import Communicator, StabilityCheck

# Names that begin so come from a package of this name, which may not be installed. It is in plugins/, and on no index.
KNOWN_PACKAGES: Mapping[str, str] = {
    "crystal.": "cllm-crystal", "hf.": "cllm-hf", "mpi": "cllm-mpi", "parquet.": "cllm-parquet",
    "robust.": "cllm-robust", "tensorboard": "cllm-tensorboard", "zclip.": "cllm-zclip",
}

# Kind -> the key that names a part, and the table with its options. {} takes the part's label.
PLACES: Mapping[str, tuple[str, str]] = {
    "dataset": ("[data] loader", "[data.options]"),
    "tokenizer": ("[data] tokenizer", "[data.tokenizer_options]"),
    "model": ("[model] family", "[model.options]"),
    "initializer": ("[initializer] name", "[initializer]"),
    "reducer": ("[reducer] name", "[reducer]"),
    "check": ("[checks.{}] name", "[checks.{}]"),
    "optimizer": ("[optimizer] name", "[optimizer]"),
    "schedule": ("[schedule] name", "[schedule]"),
    "sink": ("[sinks.{}] name", "[sinks.{}]"),
    "metric": ("[metrics.{}] name", "[metrics.{}]"),
    "communicator": ("[dist] communicator", "[dist]"),
}

Record = list[dict[str, str]]


@dataclass(frozen=True)
class PluginRow:
    """A plugin as `cllm plugins list` shows it."""

    name: str
    distribution: str
    version: str
    location: str
    state: Literal["active", "left out", "broken"]
    provides: tuple[str, ...] = ()  # such as "reducer tree"
    problem: str | None = None
    warnings: tuple[str, ...] = ()  # of what it uses, and will be gone


class Plugins:
    """All plugins that were found. Made by `build_manager`."""

    def __init__(
        self, rows: Iterable[PluginRow], registered: Mapping[tuple[str, str], Registered], events: Events
    ) -> None:
        self._rows = tuple(rows)
        self._registered = dict(registered)  # (kind, name) -> spec
        self._events = events

    def list(self) -> tuple[PluginRow, ...]:
        """Return a row for each plugin, whether it works or not: cllm's own first, then by name."""
        return self._rows

    def record(self) -> Record:
        """Return name, distribution and version of the active plugins, as a checkpoint keeps them."""
        return [
            {"name": row.name, "distribution": row.distribution, "version": row.version}
            for row in self._rows
            if row.state == "active"
        ]

    def versions(self) -> dict[str, str]:
        """Return the versions of the active plugins by name, which no machine changes: what the ledger says of them."""
        return {row.name: row.version for row in self._rows if row.state == "active"}

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of a kind ("reducer") that a config can use, sorted."""
        return tuple(sorted(name for one, name in self._registered if one == kind))

    def find(self, kind: str, name: str, label: str = "") -> Registered:
        """Return what is registered by that name. Raises ConfigError, with advice, where nothing is."""
        registered = self._registered.get((kind, name))
        if registered is None:
            raise self._unknown(kind, name, label)
        return registered

    def who(self, kind: str, name: str) -> str:
        """Return a part as errors name it: reducer NAME of plugin PLUGIN (DISTRIBUTION)."""
        registered = self.find(kind, name)
        return f"{kind} {name} of plugin {registered.plugin} ({registered.distribution})"

    def factory(self, kind: str, name: str) -> Callable[..., Any]:
        """Return a factory without calling it: a model's builder, a tokenizer's class."""
        return self.find(kind, name).factory()

    def make(self, kind: str, part: Part, *, label: str = "", **offers: Any) -> Any:
        """Return the object that `part` names, made with its options.

        `offers` are values of the host: a config field of that name that `part` leaves out takes one.
        `label` is the part's in [checks], [sinks] or [metrics]. Raises ConfigError for names and options, PluginError
        for a plugin that fails.
        """
        return self.find(kind, part.name, label).make(part.options, _place(kind, part, label)[1], offers)

    def options(self, kind: str, part: Part, label: str = "", **offers: Any) -> msgspec.Struct | None:
        """Return the options of `part` as `make` uses them; None if there are none. Raises ConfigError."""
        return self.find(kind, part.name, label).options(part.options, _place(kind, part, label)[1], offers)

    def make_checks(self, parts: Mapping[str, Part]) -> dict[str, StabilityCheck]:
        """Return the checks by label, `finite` before all: no config is without it."""
        labelled = {"finite": Part("finite"), **parts}
        return {label: self.make("check", part, label=label) for label, part in labelled.items()}

    def make_sinks(self, parts: Mapping[str, Part], folder: Path, every: int) -> Sinks:
        """Return the sinks of a run whose folder is `folder` and whose log_every is `every`."""
        offers = {"folder": str(folder), "every": every}
        return Sinks({
            self._titled("sink", part, label): self.make("sink", part, label=label, **offers)
            for label, part in parts.items()
        })

    def make_metrics(self, parts: Mapping[str, Part]) -> Metrics:
        """Return the metrics of a run by label."""
        made = {label: self.make("metric", part, label=label) for label, part in parts.items()}
        return Metrics(made, {label: self._titled("metric", part, label) for label, part in parts.items()})

    def make_communicator(self, config: Config) -> Communicator:
        """Return the communicator of `[dist]`; the other ranks make theirs at the same time."""
        made: Communicator = self.make("communicator", Part(config.dist.communicator, config.dist.options))
        return made

    def complete(self, config: Config, n_steps: int | None = None) -> Config:
        """Return `config` with every option of its parts written out, defaults included; completing again is no change.

        So a config.toml says all that decides bits, whatever defaults a later version has. `n_steps`, where
        it is known already, fills a schedule's decay_steps. Raises ConfigError for any name or option that
        is wrong.
        """
        for label, part in config.sinks.items():
            self.options("sink", part, label, folder="", every=config.train.log_every)
        return msgspec.structs.replace(
            config,
            model=self._complete_model(config.model),
            data=self._complete_data(config),
            initializer=self._completed("initializer", config.initializer),
            optimizer=self._completed("optimizer", config.optimizer),
            schedule=self._completed("schedule", config.schedule, decay_steps=n_steps),
            reducer=self._completed("reducer", config.reducer),
            checks={label: self._completed("check", part, label) for label, part in config.checks.items()},
            metrics={label: self._completed("metric", part, label) for label, part in config.metrics.items()},
            dist=self._complete_dist(config.dist),
        )

    def fire(self, event: str, **values: Any) -> None:
        """Call an event hook of all plugins; one that raises is warned about and hears no more."""
        self._events.fire(event, **values)

    def _complete_model(self, model: ModelConfig) -> ModelConfig:
        completed = self._completed("model", Part(model.family, model.options))
        model = msgspec.structs.replace(model, options=completed.options)
        options = self.find("model", model.family).family_options(model)
        if options is None:
            return model
        given = {name: getattr(model, name) for name in FAMILY_OPTIONS}
        for name, value in given.items():
            if value is not None and name not in options:
                came = f"[model] {name} = {shown(value)} with family = {shown(model.family)}"
                raise ConfigError("config", came, f"its own options: {', '.join(options)}", f"remove {name}")
        return msgspec.structs.replace(model, **{name: options[name] for name in options if given[name] is None})

    def _complete_data(self, config: Config) -> Any:
        data = config.data
        if data.tokenizer_file is None:
            how = self._completed("tokenizer", Part(data.tokenizer, data.tokenizer_options))
            data = msgspec.structs.replace(data, tokenizer_options=how.options)
        if data.loader is None:
            return data
        completed = self._completed("dataset", Part(data.loader, data.options), source=data.source)
        options = {key: value for key, value in completed.options.items() if key != "source"}
        return msgspec.structs.replace(data, options=options)

    def _complete_dist(self, dist: DistConfig) -> DistConfig:
        completed = self._completed("communicator", Part(dist.communicator, dist.options))
        return msgspec.structs.replace(dist, options=completed.options)

    def _completed(self, kind: str, part: Part, label: str = "", **offers: Any) -> Part:
        options = self.options(kind, part, label, **offers)
        values = {} if options is None else msgspec.to_builtins(options)
        return Part(part.name, {key: _as_toml(value) for key, value in values.items() if value is not None})

    def _titled(self, kind: str, part: Part, label: str) -> str:
        """The label, and of a part that is not cllm's own where it is from."""
        registered = self.find(kind, part.name, label)
        own = registered.distribution == PROJECT
        return label if own else f"{label} ({part.name} of {registered.distribution})"

    def _unknown(self, kind: str, name: str, label: str) -> ConfigError:
        came = f"{_place(kind, Part(name), label)[0]} = {shown(name)}"
        missing = [
            f"{row.state} {row.name} ({row.distribution}: {row.problem})" for row in self._rows if row.problem
        ]
        if missing:
            came += f", while there are plugins that were not loaded: {'; '.join(missing)}"
        names = self.names(kind)
        wanted = choices(names) if names else f"a {kind} that a plugin brings, and there is none"
        return ConfigError("config", came, wanted, _advice(name, names))


def _advice(name: str, names: Sequence[str]) -> str:
    for prefix, package in KNOWN_PACKAGES.items():
        if name.startswith(prefix) and not any(other.startswith(prefix) for other in names):
            return f"the package {package} provides it: in a clone of cllm, pip install ./plugins/{package}"
    return did_you_mean(name, names, "choose one of these, or load the plugin that has it: -p FILE")


def _place(kind: str, part: Part, label: str) -> tuple[str, str]:
    key, table = PLACES[kind]
    return key.format(label or part.name), table.format(label or part.name)


def _as_toml(value: Any) -> Any:
    # As a TOML file would give it back, so that a completed config equals the one read from config.toml.
    if isinstance(value, Mapping):
        return {key: _as_toml(item) for key, item in value.items() if item is not None}
    return [_as_toml(item) for item in value] if isinstance(value, list | tuple) else value
