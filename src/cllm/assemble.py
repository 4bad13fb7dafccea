"""Takes a config apart, once: from names and numbers to the objects that a run is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.averaging import Averaging
from cllm.bounded import check_memory
from cllm.config import Config, Part
from cllm.config.plain import MOST_BITS
from cllm.config.rules import check_rules
from cllm.data.answerdraws import refuse_without_answers
from cllm.data.batches import Batches
from cllm.data.kinds import Kinds
from cllm.data.source import OpenData, open_data
from cllm.engine import Engine
from cllm.errors import ConfigError, PluginError
from cllm.floats import standard_floats
from cllm.hooks.calling import Judges
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import Optimizer, Reducer, Schedule, StabilityCheck
from cllm.initialise import initial_parameters
from cllm.program import Program
from cllm.ranks import Ranks
from cllm.share import ALONE, Share
from cllm.sizing import decoding_of, memory_of, programs_of
from cllm.state import TrainState
from cllm.views import Views


@dataclass(frozen=True)
class Outline:
    """What is known of a run before anything large is allocated: all that a dry run tells."""

    config: Config  # resolved: vocabulary, steps and every default written out
    batches: Batches
    program: Program  # training
    evaluating: Program | None  # None where there is nothing to measure
    optimizer: Optimizer  # not initialised yet
    reducer: Reducer
    n_threads: int
    memory: dict[str, int]  # bytes by purpose, of each rank where there are several

    def engine(self, ranks: Ranks | None = None) -> Engine:
        """The engine that trains, with these ranks or alone."""
        train = self.config.train
        return Engine(
            self.program, train.batch_size, self.n_threads, micro_batch_size=train.micro_batch_size, seed=train.seed,
            reducer=self.reducer, executor=train.executor, ranks=ranks,
        )


@dataclass(frozen=True)
class Assembly:
    """All that the loop runs on."""

    config: Config  # resolved: vocabulary, steps and every default written out
    data: OpenData
    batches: Batches
    program: Program  # training
    engine: Engine
    evaluator: Engine | None  # None where there is nothing to measure
    decoding: Program | None  # None where no samples are wanted
    optimizer: Optimizer
    schedule: Schedule
    reducer: Reducer
    judges: Judges
    views: Views
    state: TrainState
    n_threads: int
    ranks: Ranks | None  # None where there are no others
    first_parameters: Callable[[], NDArray[np.float32]]  # (P,) that the run begins with, made anew

    def learning_rate(self) -> float:
        """Of the next update: base times schedule."""
        return self.optimizer.learning_rate * self._schedule_factor()

    @property
    def measured(self) -> NDArray[np.float32]:
        """(P,) what evaluations measure: the parameters, or their average where the run keeps one and has begun."""
        if isinstance(self.optimizer, Averaging) and self.state.step > 0:
            return self.optimizer.average
        return self.state.parameters

    def begin(self) -> None:
        """Give parameters and optimizer their first values."""
        self.state.parameters[:] = self.first_parameters()
        self.optimizer.init(self.program.parameters)

    def _schedule_factor(self) -> float:
        """What the schedule says; refused where an update by it would not leave finite parameters."""
        step = self.state.step
        factor = self.schedule(step)
        if not isinstance(factor, Real) or not 0.0 <= factor < float("inf"):
            raise PluginError(
                f"schedule {self.config.schedule.name}", f"{factor!r} at step {step}", "a finite factor of 0 or more",
                "correct the schedule",
            )
        return float(factor)


@standard_floats()
def assemble(
    config: Config, data: OpenData, plugins: Plugins,
    reducer: Reducer | None = None, checks: Mapping[str, StabilityCheck] | None = None, ranks: Ranks | None = None,
) -> Assembly:
    """Make the parts of a run; `reducer` and `checks` are plain objects that stand in for, or beside, named ones.

    ranks: the processes that train together; without them this one trains alone.
    """
    known = outline(config, data, plugins, reducer, ranks.share if ranks is not None else ALONE)
    if ranks is not None and ranks.communicator.fast:
        refuse_without_sum(known.reducer, plugins.who("communicator", config.dist.communicator))
    config, program, optimizer, n_threads = known.config, known.program, known.optimizer, known.n_threads
    train = config.train
    engine = known.engine(ranks)
    evaluator = None
    if known.evaluating is not None:
        evaluator = Engine(known.evaluating, train.batch_size, n_threads, executor=train.executor, ranks=ranks)
    optimizer.init(program.parameters)
    all_checks = {**plugins.make_checks(config.checks), **(checks or {})}
    first_parameters = partial(
        initial_parameters, program, train.seed, n_threads, plugins.make("initializer", config.initializer),
        plugins.who("initializer", config.initializer.name),
    )
    state = TrainState(program.parameters, first_parameters(), optimizer, all_checks)
    return Assembly(
        config=config, data=data, batches=known.batches, program=program, engine=engine, evaluator=evaluator,
        decoding=decoding_of(config, plugins) if train.sample_tokens else None, optimizer=optimizer,
        schedule=plugins.make("schedule", config.schedule), reducer=known.reducer, judges=Judges(all_checks),
        views=Views(program, engine, state, n_threads), state=state, n_threads=n_threads,
        ranks=ranks if ranks is not None and ranks.n_ranks > 1 else None,
        first_parameters=first_parameters,
    )


def outline(
    config: Config, data: OpenData, plugins: Plugins, reducer: Reducer | None = None, share: Share = ALONE
) -> Outline:
    """All of a run that can be known before it takes memory. Raises MemoryLimitError if that would be too much.

    share: what this process has of it.
    """
    config, batches = resolve(config, data, plugins)
    n_threads = config.train.threads or share.default_threads
    evaluates = data.validation is not None or bool(data.others)
    optimizer = plugins.make("optimizer", config.optimizer)
    if config.train.ema_decay > 0.0:
        optimizer = Averaging(optimizer, config.train.ema_decay)
    reducer = reducer or plugins.make("reducer", config.reducer)
    memory = memory_of(config, plugins, optimizer, reducer, n_threads, evaluates, share)
    check_memory(memory, f"{memory['parameters'] // 4:,} parameters and batch_size = {config.train.batch_size}")
    program, evaluating = programs_of(config, plugins, evaluates)
    return Outline(config, batches, program, evaluating, optimizer, reducer, n_threads, memory)


def open_run_data(config: Config, plugins: Plugins, cache: Path) -> OpenData:
    """The data that a config names; text is tokenised into `cache` first."""
    return open_data(config.data, kinds_of(plugins), cache, config.model.vocab_size)


def resolve(config: Config, data: OpenData, plugins: Plugins) -> tuple[Config, Batches]:
    """The config with what the data decides written into it: vocabulary size, steps, the schedule's length."""
    check_rules(config)  # a Config that was made in Python has not met them
    vocab_size = config.model.vocab_size or data.train.vocab_size
    if vocab_size < data.train.vocab_size:
        raise ConfigError(
            "config", f"[model] vocab_size = {vocab_size}", f"at least the data's {data.train.vocab_size}",
            "leave it out, or enlarge it",
        )
    train, model = config.train, config.model
    chosen = config.data
    batches = Batches(
        data.train, train.batch_size, model.block_size, train.seed, chosen.sampling, chosen.documents, chosen.loss
    )
    if chosen.loss == "answers" and data.validation is not None:
        refuse_without_answers(data.validation.parts)
    if data.validation is None:
        _refuse_blind(config)
    steps = train.steps or _steps_of_epochs(train.epochs or 1.0, batches)
    resolved = msgspec.structs.replace(
        config,
        model=msgspec.structs.replace(model, vocab_size=vocab_size),
        train=msgspec.structs.replace(train, steps=steps, epochs=None),
    )
    # A schedule's length is written out, so that a run that is resumed for more steps keeps its course.
    return plugins.complete(resolved, steps), batches


def refuse_without_sum(reducer: Reducer, communicator: str) -> None:
    """ConfigError for a reducer whose total is no sum: a communicator that adds would make something else of it."""
    if not getattr(reducer, "is_sum", False):
        raise ConfigError(
            communicator, f"[dist] fast = true with the reducer {type(reducer).__name__}", "one that is a plain sum",
            'leave fast out, or use [reducer] name = "tree"',
        )


def _refuse_blind(config: Config) -> None:
    """ConfigError for what goes by the validation loss, where there will be none: it would do nothing, unsaid."""
    chosen = {"[train] patience": config.train.patience, "[checkpoint] keep_best": config.checkpoint.keep_best}
    for key, given in chosen.items():
        if given:
            came, todo = f"{key} without a validation part", "hold some text out for validation, or leave the key out"
            raise ConfigError("config", came, "a validation loss to go by", todo)


def _steps_of_epochs(epochs: float, batches: Batches) -> int:
    steps = epochs * batches.windows_per_epoch / batches.batch_size
    if steps >= 1 << MOST_BITS:  # a config.toml could not hold it
        raise ConfigError("config", f"[train] epochs = {epochs}", "an end that could be reached", "use fewer")
    return max(1, int(steps))


def kinds_of(plugins: Plugins) -> Kinds:
    """What the data layer asks of the plugins."""

    def dataset(name: str, options: Mapping[str, Any]) -> Any:
        return plugins.make("dataset", Part(name, dict(options)))

    def tokenizer(name: str) -> Any:
        return plugins.factory("tokenizer", name)

    return Kinds(dataset, tokenizer, lambda name, given: plugins.options("tokenizer", Part(name, dict(given))))

