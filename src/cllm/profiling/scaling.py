"""Predicts a step's time on more threads than the machine has cores, from steps recorded on one thread.

A model, to be labelled as one: the shards' measured times are dealt to virtual workers by the engine's own rule, the
gradients' folds and meetings are counted by its own tree, and what moves memory speeds up as memory itself does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.profiling.profile import Profile
from cllm.recording import FOLD, MEET, PACK
from cllm.reduction import fold_run, meetings
from cllm.teams import WORTH_MEETING, form_teams

MEETING = 1e-5  # seconds that a team is taken to lose after an op, on the way there and by unlike parts


@dataclass(frozen=True)
class StepCosts:
    """Seconds of one step on one thread, by what becomes of them on several."""

    n_parameters: int  # trainable
    shards: tuple[float, ...]  # forward and backward of each; a team of threads runs a contiguous run of them
    n_ops: int  # of one shard, forward and backward
    merge: float  # two gradients into one
    pack: float  # weights into panels: shared
    scale: float  # of the total: shared
    streaming: float  # norm and optimizer: shared, and bound by memory
    serial: float  # the rest: Python, batches, checks


def costs_of(seen: Profile) -> StepCosts:
    """Medians over the steps of a profile of one thread."""
    (events,) = seen.threads
    seconds = events["end"] - events["begin"]
    n, n_shards = seen.n_steps, len(seen.rows)
    begins = [span.begin for span in seen.spans if span.name == "step"]
    by_shard = [median(sums) for sums in _sums_by_step(events, seconds, begins, n_shards)]
    phase = {what: float(seconds[events["what"] == what].sum()) / n for what in (PACK, FOLD, MEET)}
    merges = max(1, n_shards - 1)
    spans = {
        name: median(span.end - span.begin for span in seen.spans if span.name == name)
        for name in ("optimizer", "step")
    }
    streaming = spans["optimizer"]
    known = sum(by_shard) + sum(phase.values()) + streaming
    serial = max(0.0, spans["step"] - known)
    n_ops = int((events["what"] >= 0).sum()) // (n * n_shards)
    return StepCosts(
        seen.program.n_trainable, tuple(by_shard), n_ops, phase[FOLD] / merges, phase[PACK], phase[MEET], streaming,
        serial,
    )


def _sums_by_step(
    events: NDArray[Any], seconds: NDArray[Any], begins: Sequence[float], n_shards: int
) -> list[list[float]]:
    """Of each shard, by step, what its ops took; begins: of the steps."""
    sums = [[0.0] * len(begins) for _ in range(n_shards)]
    steps = np.searchsorted(np.array(begins), events["begin"], side="right") - 1
    for event, step, duration in zip(events, steps, seconds, strict=True):
        if event["what"] >= 0:
            sums[int(event["shard"])][int(step)] += float(duration)
    return sums


def predict(costs: StepCosts, n_threads: int, memory_speedup: float) -> float:
    """Seconds of a step on `n_threads`; memory_speedup: how many times one thread's bandwidth they have together."""
    longest, subtrees = 0.0, []
    for team in form_teams(len(costs.shards), n_threads, n_threads, costs.n_parameters):
        left, _ = fold_run(team.first, team.last)
        subtrees += left
        folds = (team.last - team.first) - len(left)
        alone = sum(costs.shards[team.first : team.last]) + folds * costs.merge
        together = alone / team.n_members
        if team.n_members > 1:  # no team that would lose more than WORTH_MEETING is formed
            meeting = MEETING * costs.n_ops * (team.last - team.first)
            together = min(together + meeting, together * WORTH_MEETING)
        longest = max(longest, together)
    met = len(meetings(subtrees, len(costs.shards)))
    shared = costs.pack + costs.scale + met * costs.merge + costs.streaming
    return longest + shared / min(float(n_threads), memory_speedup) + costs.serial


def memory_speedups(bandwidths: Mapping[int, float], n_threads: int) -> float:
    """Bandwidth of n_threads over one thread's; beyond what was measured, no more than the most that was."""
    known = [bandwidth for n, bandwidth in bandwidths.items() if n <= n_threads]
    return max(known) / bandwidths[1]
