"""The hooks that a plugin can implement, in the order in which they are called.

A plugin is a module, or any object, with functions of these names, marked with `hookimpl`:

    from cllm.hooks import Abort, CheckSpec, Ok, hookimpl

    class StopAbove:
        def after_reduction(self, view):
            return Abort(f"loss {view.loss}") if view.loss > 100.0 else Ok()

    @hookimpl
    def cllm_register_stability_checks():
        yield CheckSpec("stop_above", "stops when the loss is above 100", StopAbove)

Saved as stop_above.py, `cllm train CONFIG -p ./stop_above.py --set checks.stop_above=true` uses
it. A package names its module in the entry-point group "cllm" and is found wherever it is installed.
Functions may leave out arguments that they do not need. What the objects behind the specs must do stands in
protocols.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from cllm.hooks.reports import RunInfo, StepReport
    from cllm.hooks.specs import (
        CheckSpec,
        CommunicatorSpec,
        DatasetSpec,
        InitializerSpec,
        MetricSpec,
        ModelSpec,
        OptimizerSpec,
        ReducerSpec,
        ScheduleSpec,
        SinkSpec,
        TokenizerSpec,
    )

PROJECT = "cllm"

# Within a version of the hooks (api.py) parameters are only added, which plugins may leave out. What will be gone with
# the next is marked, and every plugin that uses it is told:
# @hookspec(warn_on_impl_args={"old": DeprecationWarning("old will be gone with version 2 of the hooks; use new")})
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# Registry hooks: called once, when the plugins are gathered, before there is a config. Each yields specs, among whose
# names the config chooses. Nothing heavy belongs into them, for `cllm plugins list` calls them too.


@hookspec
def cllm_register_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Yield loaders: `[data] loader = NAME`, `cllm prepare NAME`."""


@hookspec
def cllm_register_tokenizers() -> Iterable[TokenizerSpec]:  # type: ignore[empty-body]
    """Yield tokenizers: `[data] tokenizer = NAME`, `cllm prepare --tokenizer NAME`."""


@hookspec
def cllm_register_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Yield model families: `[model] family = NAME`."""


@hookspec
def cllm_register_initializers() -> Iterable[InitializerSpec]:  # type: ignore[empty-body]
    """Yield ways to begin: `[initializer] name = NAME`."""


@hookspec
def cllm_register_reducers() -> Iterable[ReducerSpec]:  # type: ignore[empty-body]
    """Yield ways of combining the gradients of shards: `[reducer] name = NAME`."""


@hookspec
def cllm_register_stability_checks() -> Iterable[CheckSpec]:  # type: ignore[empty-body]
    """Yield stability checks: `[checks.LABEL] name = NAME`."""


@hookspec
def cllm_register_optimizers() -> Iterable[OptimizerSpec]:  # type: ignore[empty-body]
    """Yield optimizers: `[optimizer] name = NAME`."""


@hookspec
def cllm_register_schedules() -> Iterable[ScheduleSpec]:  # type: ignore[empty-body]
    """Yield learning-rate schedules: `[schedule] name = NAME`."""


@hookspec
def cllm_register_sinks() -> Iterable[SinkSpec]:  # type: ignore[empty-body]
    """Yield places for reports: `[sinks.LABEL] name = NAME`."""


@hookspec
def cllm_register_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Yield numbers to log beside cllm's own: `[metrics.LABEL] name = NAME`."""


@hookspec
def cllm_register_communicators() -> Iterable[CommunicatorSpec]:  # type: ignore[empty-body]
    """Yield ways for several processes to train together: `[dist] communicator = NAME`."""


# Event hooks: called while a run goes on, at most a few times a step. They get frozen values, return nothing and
# change nothing. A plugin that raises in one is warned about and hears no more events; the run goes on.


@hookspec
def cllm_run_start(run: RunInfo) -> None:
    """The run is about to take its first step, fresh or resumed; its folder and config.toml are there."""


@hookspec
def cllm_step_end(report: StepReport) -> None:
    """A step is over: updated, or skipped by a decision. Called after the sinks have the report."""


@hookspec
def cllm_instability(report: StepReport) -> None:
    """A check decided to skip this step or to abort the run: `report.decision` and `report.reasons`."""


@hookspec
def cllm_evaluation(report: StepReport) -> None:
    """The model was evaluated after this step: `report.validation_loss`."""


@hookspec
def cllm_checkpoint(path: Path) -> None:
    """A checkpoint is complete, verified and in its place at `path`."""


@hookspec
def cllm_run_end(run: RunInfo) -> None:
    """The run is over: all steps done (`run.step == run.n_steps`), interrupted or aborted."""
