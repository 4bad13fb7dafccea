"""Calls into checks and sinks that may fail: a check's failure aborts, a sink's ends the sink."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

import pytest

from cllm.hooks import Abort, Clip, GradientView, Ok, SkipStep, StepReport, Verdict
from cllm.hooks.calling import Judges, Sinks
from tests.hooks.values import a_report, a_view


@dataclass
class Answers:
    """A check with one answer, or one error."""

    answer: Verdict | Exception
    seen: list[GradientView] = field(default_factory=list)

    def after_reduction(self, view: GradientView) -> Verdict:
        self.seen.append(view)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_every_check_sees_the_step_and_the_decision_is_theirs() -> None:
    checks = {"a": Answers(Ok()), "b": Answers(SkipStep("odd")), "c": Answers(Clip(0.5))}
    decision = Judges(checks).after_gradient(a_view())
    assert (decision.kind, decision.reasons) == ("skip", ("b: odd",))
    assert all(check.seen == [a_view()] for check in checks.values())


def test_an_exception_in_a_check_is_abort_with_its_label_and_place() -> None:
    decision = Judges({"mine": Answers(KeyError("loss")), "ok": Answers(Ok())}).after_gradient(a_view())
    assert decision.kind == "abort"
    assert decision.reasons[0].startswith("mine: the check failed: KeyError: 'loss' (test_calling.py:")
    assert decision.failed


def test_of_a_failing_check_the_line_of_its_own_code_is_named() -> None:
    class Reads:
        def after_reduction(self, view: GradientView) -> Verdict:
            return json.loads("{")  # type: ignore[no-any-return]

    (reason,) = Judges({"mine": Reads()}).after_gradient(a_view()).reasons
    assert reason.startswith("mine: the check failed: JSONDecodeError: ")
    assert re.search(r" \(test_calling\.py:\d+\)$", reason)  # though a file of json raised it


@dataclass
class Counts:
    """A check that remembers the steps that it saw, in a list that it gives away and goes on to use."""

    seen: list[int] = field(default_factory=list)
    fails: str = ""

    def after_reduction(self, view: GradientView) -> Verdict:
        self.seen.append(view.step)
        return Ok()

    def state_dict(self) -> dict[str, list[int]]:
        if self.fails == "state_dict":
            raise RuntimeError("lost")
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, list[int]]) -> None:
        if self.fails == "load_state_dict":
            raise RuntimeError("lost")
        self.seen = state["seen"]


@pytest.mark.parametrize(
    ("other", "seen"),
    [(Ok(), [0, 0]), (SkipStep("odd"), [0, 0]), (Abort("enough"), [0]), (ValueError("a bug"), [0])],
)
def test_a_step_is_forgotten_at_an_abort_alone(other: Verdict | Exception, seen: list[int]) -> None:
    counts = Counts()
    Judges({"counts": counts, "other": Answers(Ok())}).after_gradient(a_view())
    Judges({"counts": counts, "other": Answers(other)}).after_gradient(a_view())
    assert counts.seen == seen


@pytest.mark.parametrize("method", ["state_dict", "load_state_dict"])
def test_a_check_that_cannot_give_or_take_its_memory_has_failed(method: str) -> None:
    checks = {"counts": Counts(fails=method), "other": Answers(Abort("enough"))}
    decision = Judges(checks).after_gradient(a_view())
    assert decision.kind == "abort"
    assert [reason.split(" (")[0] for reason in decision.reasons] == [
        "counts: the check failed: RuntimeError: lost", "other: enough",
    ]


def test_a_check_does_not_stop_ctrl_c() -> None:
    class Interrupts:
        def after_reduction(self, view: GradientView) -> Verdict:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Judges({"a": Interrupts()}).after_gradient(a_view())


def test_a_check_that_loses_its_answer_aborts() -> None:
    class Silent:
        def after_reduction(self, view: GradientView) -> Verdict:
            return None  # type: ignore[return-value]

    assert Judges({"a": Silent()}).after_gradient(a_view()).kind == "abort"
    assert Judges({"a": Answers(Abort("x"))}).after_gradient(a_view()).reasons == ("a: x",)


@dataclass
class Keeps:
    """A sink that remembers, and fails from its `fails_at`-th report on."""

    fails_at: int = 99
    reports: list[StepReport] = field(default_factory=list)
    closed: int = 0

    def emit(self, report: StepReport) -> None:
        self.reports.append(report)
        if len(self.reports) >= self.fails_at:
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.closed += 1


def test_a_failing_sink_is_closed_and_left_out_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = Keeps(fails_at=2), Keeps()
    sinks = Sinks({"bad": bad, "good": good})
    for _ in range(4):
        sinks.emit(a_report())
    sinks.close()
    sinks.close()
    assert (len(bad.reports), bad.closed) == (2, 1)
    assert (len(good.reports), good.closed) == (4, 1)
    warning = capsys.readouterr().err
    assert warning.count("warning") == 1
    assert "sink bad failed and is left out from here on: OSError: [Errno 28] No space left on device" in warning


def test_a_sink_that_fails_to_close_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    class Sticky(Keeps):
        def close(self) -> None:
            raise OSError("stuck")

    good = Keeps()
    Sinks({"good": good, "sticky": Sticky()}).close()
    assert good.closed == 1
    assert "sink sticky failed" in capsys.readouterr().err
