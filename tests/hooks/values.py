"""A gradient view and a step report to change for a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cllm.hooks import GradientView, StepReport


def _no_norm(name: str) -> float:
    return 0.0


VIEW = GradientView(
    step=0,
    batch_index=0,
    loss=2.5,
    gradient_norm=0.5,
    finite=True,
    learning_rate=1e-3,
    shard_losses=(2.0, 3.0),
    weight_sum=768.0,
    parameter_norm=_no_norm,
)

REPORT = StepReport(
    step=10,
    n_steps=100,
    batch_index=9,
    loss=2.5,
    validation_loss=None,
    gradient_norm=0.5,
    learning_rate=1e-3,
    clip=1.0,
    n_tokens=768,
    seconds=0.01,
    tokens_per_second=76_800.0,
    useful_cpu=0.97,
    load_balance=0.99,
    serial_share=0.01,
    parallel_efficiency=0.98,
    eta_seconds=65.0,
    decision="step",
    reasons=(),
    digest=None,
)


def a_view(**changes: Any) -> GradientView:
    return replace(VIEW, **changes)


def a_report(**changes: Any) -> StepReport:
    return replace(REPORT, **changes)
