"""What a stability check answers, and how all answers become one decision.

The order of checks changes nothing: Abort excludes SkipStep, which excludes the rest; otherwise the
smallest clip and the smallest learning-rate factor both apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Ok:
    """Nothing to say against this step."""


@dataclass(frozen=True)
class Clip:
    """Multiply the gradient by `factor`, 0 < factor <= 1, before the update."""

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class LowerLR:
    """Multiply the learning rate of this update alone by `factor`, 0 < factor <= 1."""

    factor: float
    reason: str

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True)
class SkipStep:
    """Make no update from this batch; the next step takes the next batch."""

    reason: str


@dataclass(frozen=True)
class Abort:
    """Stop the run before the update: the parameters stay those of the last good step."""

    reason: str


@dataclass(frozen=True)
class Failed(Abort):
    """What counts as the answer of a check that raised, or gave none."""


Verdict = Ok | Clip | LowerLR | SkipStep | Abort


@dataclass(frozen=True)
class Decision:
    """What happens to this step. `clip` and `learning_rate_factor` are 1.0 unless `kind` is "step"."""

    kind: Literal["step", "skip", "abort"]
    clip: float = 1.0
    learning_rate_factor: float = 1.0
    reasons: tuple[str, ...] = ()  # each begins with the label of its check
    failed: bool = False  # a check itself did: it is to be mended, not the run


def decide(verdicts: Iterable[tuple[str, Verdict]]) -> Decision:
    """Return the decision that follows from pairs (label of the check, its verdict), in any order.

    What is none of the five verdicts counts as Abort: a check that forgets to answer has not said Ok.
    """
    given = [(label, _understood(verdict)) for label, verdict in verdicts]
    if aborts := _reasons(given, Abort):
        return Decision("abort", reasons=aborts, failed=any(isinstance(verdict, Failed) for _, verdict in given))
    if skips := _reasons(given, SkipStep):
        return Decision("skip", reasons=skips)
    return Decision(
        "step",
        clip=_smallest(given, Clip),
        learning_rate_factor=_smallest(given, LowerLR),
        reasons=_reasons(given, LowerLR),
    )


def _understood(verdict: object) -> Verdict:
    if isinstance(verdict, Verdict):
        return verdict
    return Failed(f"answered {verdict!r}, which is no verdict; return Ok(), Clip, LowerLR, SkipStep or Abort")


def _reasons(
    given: Sequence[tuple[str, Verdict]], kind: type[Abort] | type[SkipStep] | type[LowerLR]
) -> tuple[str, ...]:
    # Sorted, so that the order of checks shows nowhere; `decide` is also what the ledger and the messages
    # quote.
    reasons = [f"{label}: {verdict.reason}" for label, verdict in given if isinstance(verdict, kind)]
    return tuple(sorted(reasons))


def _smallest(given: Sequence[tuple[str, Verdict]], kind: type[Clip] | type[LowerLR]) -> float:
    return min((verdict.factor for _, verdict in given if isinstance(verdict, kind)), default=1.0)


def _check_factor(factor: float) -> None:
    # Written so that NaN is refused too: every comparison with it is false.
    if not 0.0 < factor <= 1.0:
        raise ValueError(f"a factor lies in 0 < factor <= 1, not {factor}")
