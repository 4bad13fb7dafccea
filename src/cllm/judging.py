"""One step of training, but for what becomes of it: the gradient, what the checks decide, and the update.

Where checks drop shards, gradient and judgement begin again without those; in the end there is one decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cllm.assemble import Assembly
from cllm.binding import Batch
from cllm.hooks.reports import GradientView, Past
from cllm.hooks.verdicts import Decision
from cllm.outcomes import Gradient


@dataclass(frozen=True)
class Judged:
    """A step as far as it has come. `decision.shards` are those that have been left out."""

    batch: Batch
    gradient: Gradient
    view: GradientView
    decision: Decision
    learning_rate: float  # as used, or as it would have been
    finite: bool = True  # whether the parameters are, after the update
    is_news: bool = True  # whether the decision is to be written down


def judge(parts: Assembly, batch: Batch, snapshots: Callable[[], tuple[int, ...]]) -> Judged:
    """The gradient of a batch and the decision on it. snapshots: the steps that a rewind can go to.

    Raises ReducerFailed, Interrupted, PluginError for a schedule that gives no learning rate.
    """
    dropped: frozenset[int] = frozenset()
    reasons: tuple[str, ...] = ()
    while True:
        gradient = parts.engine.gradient(parts.state.parameters, batch, parts.reducer, without=dropped)
        view = parts.views.of_gradient(gradient, batch, parts.learning_rate(), dropped, snapshots)
        decision = parts.judges.after_gradient(view)
        if decision.kind == "drop":
            decision = _allowed(decision, dropped, parts.engine.n_shards)
            reasons += decision.reasons
        if decision.kind != "drop":
            whole = decision if not dropped else replace(decision, shards=dropped, reasons=reasons + decision.reasons)
            return Judged(batch, gradient, view, whole, view.learning_rate * decision.learning_rate_factor)
        dropped |= decision.shards


def update(parts: Assembly, judged: Judged) -> Judged:
    """Make the update, unless a check objects at the last moment; and let it be judged."""
    state, decision = parts.state, judged.decision
    coming = parts.views.before_update(judged.view, decision.clip, judged.learning_rate)
    last = parts.judges.before_update(coming)
    if decision.shards:
        last = replace(last, shards=decision.shards, reasons=tuple(dict.fromkeys(decision.reasons + last.reasons)))
    decision = last
    if decision.kind != "step":
        return replace(judged, decision=decision)
    learning_rate = judged.view.learning_rate * decision.learning_rate_factor
    finite = parts.optimizer.step(
        state.parameters, judged.gradient.gradient, learning_rate=learning_rate, gradient_scale=decision.clip,
        n_threads=parts.n_threads,
    )
    state.step += 1
    state.batch_index += 1
    past = Past(state.step, judged.gradient.loss, judged.view.gradient_norm, learning_rate)
    is_news = state.course.updated(past, decision)
    made = parts.views.after_update(coming, judged.gradient.gradient, learning_rate, finite)
    after = parts.judges.after_update(made)
    return Judged(
        judged.batch, judged.gradient, judged.view, decision if after.kind == "step" else after, learning_rate,
        finite=made.finite, is_news=is_news or after.kind != "step",
    )


def _allowed(decision: Decision, dropped: frozenset[int], n_shards: int) -> Decision:
    """What a wish to drop shards comes to: of all of them the batch is skipped, of strangers the check has failed."""
    if decision.shards & dropped or not all(shard < n_shards for shard in decision.shards):
        which = sorted(decision.shards)
        came = f"shards {which} cannot be dropped of 0 to {n_shards - 1}, without {sorted(dropped)}"
        return Decision("abort", reasons=(*decision.reasons, came), failed=True)
    if len(dropped | decision.shards) == n_shards:
        return Decision("skip", reasons=(*decision.reasons, "no shard would be left"))
    return decision
