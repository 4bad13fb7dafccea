"""What a plugin hands over: specs, one for each thing that a config can name.

A spec is a name, a line about it, and where to find the rest: the factory is an object or
"package.module:attribute", which is imported when a run names it and not before. `config` is the
msgspec.Struct of the part's options, or where to find that: the options in the user's TOML are checked
against it, and the factory is called as `factory(config)`; without it the part has no options and the
factory is called as `factory()`. Nothing here imports NumPy: listing plugins is quick.

"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from cllm.errors import PluginError

if TYPE_CHECKING:
    import msgspec

_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")
_REFERENCE = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class Spec:
    """One thing that a config can name; plugins put their own name before a dot, as in "robust.median"."""

    kind: ClassVar[str] = ""

    name: str
    summary: str  # one line, shown by `cllm plugins list`
    factory: str | Callable[..., Any]
    config: type[msgspec.Struct] | str | None = None

    @property
    def references(self) -> tuple[object, ...]:
        """What may be given as "package.module:attribute"."""
        return self.factory, self.config

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise self._refused(f"name {self.name!r}", "small letters, digits, _ and -, with dots between")
        if not self.summary.strip() or "\n" in self.summary:
            raise self._refused(f"summary {self.summary!r}", "one line of text")
        for reference in self.references:
            if isinstance(reference, str) and not _REFERENCE.fullmatch(reference):
                raise self._refused(f"reference {reference!r}", '"package.module:attribute"')
        if not isinstance(self.factory, str) and not callable(self.factory):
            raise self._refused(f"factory {self.factory!r}", "a callable")

    def _refused(self, came: str, expected: str) -> PluginError:
        return PluginError(f"{type(self).__name__} {self.name!r}", came, expected, "correct it in the plugin")


class DatasetSpec(Spec):
    """A loader, `[data] loader`. Factory: (config) -> Dataset; its field `source` takes `[data] source`."""

    kind = "dataset"


class TokenizerSpec(Spec):
    """A tokenizer, `[data] tokenizer`. The factory is a class of Tokenizers, with or without `from_texts`.

    The options of one whose spec has a config stand in `[data.tokenizer_options]` or in `--tokenizer-set`, and
    `--vocab-size` is its field `vocab_size`. One that does not learn is called with them alone.
    """

    kind = "tokenizer"


@dataclass(frozen=True)
class ModelSpec(Spec):
    """A model family, `[model] family`. The factory is the builder itself: (ModelConfig, mode) -> Program.

    config: of what stands in `[model.options]`, which comes to the builder as `ModelConfig.options`, completed.
    options: (ModelConfig) -> dict of those of config.FAMILY_OPTIONS that the family has, with their defaults; without
    it a family may be given any of them.
    """

    kind = "model"

    options: str | Callable[..., Any] | None = None

    @property
    def references(self) -> tuple[object, ...]:
        return *super().references, self.options


class InitializerSpec(Spec):
    """What parameters begin with, `[initializer] name`. Factory: (config) -> Initializer."""

    kind = "initializer"


class ReducerSpec(Spec):
    """A way of combining the shards' gradients, `[reducer] name`. Factory: (config) -> Reducer."""

    kind = "reducer"


class CheckSpec(Spec):
    """A stability check, `[checks.LABEL] name`. Factory: (config) -> StabilityCheck."""

    kind = "check"


class OptimizerSpec(Spec):
    """An optimizer, `[optimizer] name`. Factory: (config) -> Optimizer."""

    kind = "optimizer"


class ScheduleSpec(Spec):
    """A schedule, `[schedule] name`. Factory: (config) -> Schedule.

    A config field `decay_steps`, where there is one, is offered the number of steps of the run.
    """

    kind = "schedule"


class SinkSpec(Spec):
    """A place for reports, `[sinks.LABEL] name`. Factory: (config) -> Sink.

    Config fields `folder` and `every`, where there are such, are offered the run folder and train.log_every.
    """

    kind = "sink"


class MetricSpec(Spec):
    """A number to log, `[metrics.LABEL] name`. Factory: (config) -> Metric."""

    kind = "metric"


class CommunicatorSpec(Spec):
    """A way for several processes to train together, `[dist] communicator`. Factory: (config) -> Communicator."""

    kind = "communicator"


SPECS: tuple[type[Spec], ...] = (
    DatasetSpec,
    TokenizerSpec,
    ModelSpec,
    InitializerSpec,
    ReducerSpec,
    CheckSpec,
    OptimizerSpec,
    ScheduleSpec,
    SinkSpec,
    MetricSpec,
    CommunicatorSpec,
)
