"""Plugins: everything that one is written with.

Reading order: hookspecs (what a plugin can implement, with an example), specs (what it hands over),
protocols (what the objects made from specs must do), verdicts (what a check answers), reports (what plugins
are told); and on cllm's own side manager (gathers the plugins), found (where they come from), making (spec
and options to object), calling (checks and sinks that may fail), blame (whose failure an exception is).
"""

from __future__ import annotations

from cllm.hooks.hookspecs import hookimpl
from cllm.hooks.protocols import (
    Communicator,
    Dataset,
    Document,
    FoldReducer,
    GatherReducer,
    Initializer,
    Optimizer,
    Reducer,
    Schedule,
    Sink,
    StabilityCheck,
    Tokenizer,
)
from cllm.hooks.reports import (
    GradientView,
    Magnitude,
    Past,
    RunInfo,
    ShardView,
    Spoilt,
    StepReport,
    UpdatedView,
    UpdateView,
)
from cllm.hooks.specs import (
    CheckSpec,
    CommunicatorSpec,
    DatasetSpec,
    InitializerSpec,
    ModelSpec,
    OptimizerSpec,
    ReducerSpec,
    ScheduleSpec,
    SinkSpec,
    Spec,
    TokenizerSpec,
)
from cllm.hooks.verdicts import (
    Abort,
    Clip,
    Decision,
    DropShards,
    LowerLR,
    Ok,
    Rewind,
    SkipStep,
    Verdict,
    decide,
)

__all__ = [
    "Abort",
    "CheckSpec",
    "Clip",
    "Communicator",
    "CommunicatorSpec",
    "Dataset",
    "DatasetSpec",
    "Decision",
    "Document",
    "DropShards",
    "FoldReducer",
    "GatherReducer",
    "GradientView",
    "Initializer",
    "InitializerSpec",
    "LowerLR",
    "Magnitude",
    "ModelSpec",
    "Ok",
    "Optimizer",
    "OptimizerSpec",
    "Past",
    "Reducer",
    "ReducerSpec",
    "Rewind",
    "RunInfo",
    "Schedule",
    "ScheduleSpec",
    "ShardView",
    "Sink",
    "SinkSpec",
    "SkipStep",
    "Spec",
    "Spoilt",
    "StabilityCheck",
    "StepReport",
    "Tokenizer",
    "TokenizerSpec",
    "UpdateView",
    "UpdatedView",
    "Verdict",
    "decide",
    "hookimpl",
]
