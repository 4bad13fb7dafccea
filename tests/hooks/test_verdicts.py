"""Verdicts and the one decision that follows from them, whatever the order of the checks."""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.hooks import Abort, Clip, Decision, LowerLR, Ok, SkipStep, Verdict, decide

VERDICTS: list[Verdict] = [
    Ok(),
    Clip(0.5),
    Clip(0.25),
    LowerLR(0.5, "rough"),
    LowerLR(0.125, "rougher"),
    SkipStep("odd"),
    SkipStep("odder"),
    Abort("broken"),
    Abort("lost"),
]


@pytest.mark.parametrize(
    ("verdicts", "decision"),
    [
        ([], Decision("step")),
        ([("a", Ok()), ("b", Ok())], Decision("step")),
        ([("a", Clip(0.5)), ("b", Clip(0.25)), ("c", Ok())], Decision("step", clip=0.25)),
        (
            [("a", LowerLR(0.5, "x")), ("b", LowerLR(0.1, "y")), ("c", Clip(0.9))],
            Decision("step", clip=0.9, learning_rate_factor=0.1, reasons=("a: x", "b: y")),
        ),
        ([("a", Clip(0.5)), ("b", SkipStep("x")), ("c", LowerLR(0.5, "y"))], Decision("skip", reasons=("b: x",))),
        (
            [("b", Abort("x")), ("c", SkipStep("y")), ("a", Abort("z")), ("d", Clip(0.5))],
            Decision("abort", reasons=("a: z", "b: x")),
        ),
    ],
)
def test_the_most_severe_wins_and_otherwise_the_smallest_factors(
    verdicts: list[tuple[str, Verdict]], decision: Decision
) -> None:
    assert decide(verdicts) == decision


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(VERDICTS)), max_size=5))
def test_the_order_of_checks_changes_nothing(verdicts: list[tuple[str, Verdict]]) -> None:
    decisions = {decide(order) for order in itertools.permutations(verdicts)}
    assert len(decisions) == 1


@pytest.mark.parametrize("answer", [None, True, "ok", Ok, 1.0])
def test_what_is_no_verdict_is_an_abort(answer: object) -> None:
    decision = decide([("mine", cast(Any, answer))])
    assert decision.kind == "abort"
    assert decision.reasons[0].startswith(f"mine: answered {answer!r}")
    assert decision.failed


@pytest.mark.parametrize("factor", [0.0, -0.5, 1.0000001, math.nan, math.inf])
def test_a_factor_that_would_enlarge_or_poison_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="0 < factor <= 1"):
        Clip(factor)
    with pytest.raises(ValueError, match="0 < factor <= 1"):
        LowerLR(factor, "why")
