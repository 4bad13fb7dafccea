"""What every stability check is held to: it is pure, its memory is all in its state, and NaN does not get past it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cllm.errors import CllmError
from cllm.hooks.calling import Judges
from cllm.hooks.making import check_shape
from cllm.hooks.protocols import StabilityCheck
from cllm.hooks.remembering import remembering
from cllm.hooks.verdicts import Decision
from cllm.opened import OpenedCheck, open_check
from cllm.testing.moments import Moment, calm, decisions, objects, small_gradient

N_CALM = 160
AFTER = 10  # calm steps after the alarm: a check may answer in a later one
PLACES = (1, N_CALM // 3, N_CALM - 2 * AFTER)
NAN, INF = float("nan"), float("inf")

Make = Callable[[], StabilityCheck]
Alarm = Callable[[Moment], Moment]


def check_stability_check(make: Make, alarm: Alarm | None = None, *, leaves_nonfinite: bool = False) -> None:
    """Hold a check to what cllm asks of every check. Raises AssertionError that says what it does not keep.

    make: a new check, as at the beginning of a run. alarm: makes of a calm step one that the check objects to, as in
    `lambda step: replace(step, loss=100.0)`.

    - It has a phase, and answers a verdict in each, whatever it is shown.
    - Two that see the same steps answer the same.
    - One that is given the `state_dict` of another, by way of JSON, goes on like that one; one that is given back its
      own has forgotten what came since.
    - A step that is NaN throughout is objected to (leaves_nonfinite: not asked of one that leaves this to `finite`),
      and the alarm is still heard after it.
    - The scan of a compiled one finds the same on any number of threads, and a NaN in any element changes what it
      finds.
    """
    who = f"check {type(make()).__name__}"
    try:
        check_shape("check", make(), who)
    except CllmError as error:
        raise AssertionError(str(error)) from error
    _memory(who, make())
    course = [*calm(N_CALM)]
    if alarm is not None:
        course = [*course[:-AFTER], alarm(course[-AFTER]), *course[-AFTER:]]
        heard = any(map(objects, _answers(who, make(), course)[-AFTER - 1 :]))
        assert heard, f"{who}: it has nothing against the step that should alarm"
    whole = _answers(who, make(), course)
    assert _answers(who, make(), course) == whole, f"{who}: the same steps once more have other answers: it is not pure"
    for place in (*PLACES, len(course) - AFTER - 1):
        _check_state(who, make, course, place, whole[place:])
    _check_nonfinite(who, make, course, alarm is not None, leaves_nonfinite)
    if (compiled := open_check(make(), who)) is not None:
        _check_scan(who, compiled)


def _answers(who: str, check: StabilityCheck, course: Sequence[Moment]) -> list[tuple[Decision, ...]]:
    """What becomes of each step. Raises AssertionError where the check fails."""
    judges, answers = Judges({"it": check}), []
    for moment in course:
        decided = decisions(judges, moment)
        for one in decided:
            shown = f"loss {moment.loss}, gradient norm {moment.gradient_norm}"
            assert not one.failed, f"{who}: at step {moment.step} ({shown}): {' and '.join(one.reasons)}"
        answers.append(decided)
    return answers


def _check_state(
    who: str, make: Make, course: Sequence[Moment], place: int, rest: list[tuple[Decision, ...]]
) -> None:
    """At a step of the course, where the run is resumed, and where it forgets one."""
    first, second = make(), make()
    _answers(who, first, course[:place])
    memory = _memory(who, first)
    _take_over(second, memory)
    same = _answers(who, second, course[place:]) == rest
    state = "its state_dict does not have all that decides" if memory is not None else "it remembers, and has no state"
    assert same, f"{who}: resumed at step {place} it answers otherwise: {state}"
    _answers(who, first, [replace(course[place], loss=9.0, gradient_norm=9.0)])
    _take_over(first, memory)
    same = _answers(who, first, course[place:]) == rest
    assert same, f"{who}: given back its state at step {place} it has not forgotten what came since"


def _memory(who: str, check: StabilityCheck) -> str | None:
    """The state as JSON, None of a check that has none."""
    holder = remembering({"it": check}).get("it")
    if holder is None:
        return None
    try:
        return json.dumps(holder.state_dict())
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{who}: its state_dict is no plain JSON: {error}") from error


def _take_over(check: StabilityCheck, memory: str | None) -> None:
    if memory is not None:
        remembering({"it": check})["it"].load_state_dict(json.loads(memory))


def _check_nonfinite(who: str, make: Make, course: Sequence[Moment], alarms: bool, leaves: bool) -> None:
    at = len(course) - AFTER - 1
    for poison in (NAN, INF, -INF):
        gradient = small_gradient()
        gradient[::1001] = poison
        before = course[at - 1]
        whole = replace(before, loss=poison, gradient_norm=abs(poison), gradient=gradient, update_ratio=abs(poison))
        some: list[dict[str, Any]] = [{"loss": poison}, {"gradient_norm": abs(poison)}, {"gradient": gradient}]
        spoilt = [whole, *(replace(before, **one) for one in some)]
        answers = _answers(who, make(), [*course[:at], *spoilt, *course[at:]])
        if np.isnan(poison) and not leaves:
            advice = "a comparison with NaN is false: let pass what is below a limit, not what is not above it"
            against = any(map(objects, answers[at : at + len(spoilt)]))
            assert against, f"{who}: it has nothing against a step that is NaN throughout; {advice}"
        if alarms:
            heard = any(map(objects, answers[at + len(spoilt) :]))
            assert heard, f"{who}: after a step with {poison} it no longer objects to what should alarm"


def _check_scan(who: str, compiled: OpenedCheck) -> None:
    gradient = small_gradient()
    kept, found = gradient.tobytes(), compiled.scan(gradient, 1)
    for n_threads in (1, 2, 3, 8):
        again = compiled.scan(gradient, n_threads)
        assert again == found, f"{who}: on {n_threads} threads the scan finds {again}, on one {found}"
    assert gradient.tobytes() == kept, f"{who}: the scan writes to the gradient, which is IN"
    for element in (0, 1, 7, 100, 16383, 16384, 32768, gradient.size - 1):
        clean, gradient[element] = gradient[element], np.nan
        spoilt = compiled.scan(gradient, 2)
        gradient[element] = clean
        assert repr(spoilt) != repr(found), f"{who}: a NaN in element {element} changes nothing of what the scan finds"
