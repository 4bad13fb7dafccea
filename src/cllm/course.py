"""What a run has been through: its recent updates, and its decisions counted. It is part of every checkpoint.

From it follows when a run that skips, or goes back, again and again may not go on; a resumed run ends where an
undisturbed one would.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cllm.hooks.reports import Past
from cllm.hooks.verdicts import Decision

RECENT = 256  # updates that checks can look back on
MOST_SKIPS_IN_A_ROW = 10
MOST_SKIPS = 0.01  # of all batches, once there are
BATCHES_TO_JUDGE = 1000
MOST_REWINDS = 3  # to one state


class Course(msgspec.Struct):
    """Counts are by the word of a report's decision, and "clip" and "lower_lr" of updates that were softened."""

    recent: list[Past] = msgspec.field(default_factory=list)
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    in_a_row: int = 0  # batches that were skipped since the last update
    rewinds: list[int] = msgspec.field(default_factory=list)  # the steps that were gone back to
    from_weights: bool = False  # whether the run began with weights that were given, which its first checkpoint has
    lowered: list[str] = msgspec.field(default_factory=list)  # why the last update's learning rate was
    best: float | None = None  # the smallest loss of an evaluation during the run
    stale: int = 0  # evaluations since then

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def of(cls, plain: Any) -> Course:
        """From `plain`. Raises msgspec.ValidationError."""
        return msgspec.convert(plain, cls)

    def updated(self, update: Past, decision: Decision) -> bool:
        """An update has been made; whether it is news, that is not a plain one or one like the last."""
        self.recent.append(update)
        del self.recent[:-RECENT]
        self.in_a_row = 0
        for kind, happened in (
            ("drop", bool(decision.shards)), ("clip", decision.clip < 1.0),
            ("lower_lr", decision.learning_rate_factor < 1.0),
        ):
            if happened:
                self._count(kind)
        before, self.lowered = self.lowered, list(decision.reasons)
        return bool(self.lowered) and self.lowered != before

    def evaluated(self, loss: float) -> None:
        """An evaluation of the whole run's kind; a loss that is not finite is no progress."""
        if loss - loss == 0.0 and (self.best is None or loss < self.best):
            self.best, self.stale = loss, 0
        else:
            self.stale += 1

    def skipped(self) -> None:
        """A batch has been skipped."""
        self._count("skip")
        self.in_a_row += 1

    def rewound(self, step: int, since: Course) -> None:
        """The run has gone back to `step`, whose course this is; what happened since then stays counted."""
        self.counts, self.rewinds = dict(since.counts), [*since.rewinds, step]
        self._count("rewind")

    def refusal(self, n_batches: int) -> tuple[str, str] | None:
        """What has come and what was expected, where the run may not go on after `n_batches` batches."""
        skips = self.counts.get("skip", 0)
        if self.in_a_row >= MOST_SKIPS_IN_A_ROW:
            return f"{MOST_SKIPS_IN_A_ROW} batches in a row were skipped", "an update now and then"
        if n_batches >= BATCHES_TO_JUDGE and skips > MOST_SKIPS * n_batches and self.in_a_row:
            return f"{skips} of {n_batches:,} batches were skipped", f"at most {100 * MOST_SKIPS:g} %"
        if self.rewinds and self.rewinds.count(self.rewinds[-1]) > MOST_REWINDS:
            came = f"the run went back to step {self.rewinds[-1]} more than {MOST_REWINDS} times"
            return came, "to get on from there"
        return None

    def _count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
