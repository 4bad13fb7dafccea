"""What decisions do to whole runs: shards dropped, runs that go back, updates that are undone, limits; also resumed."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm import checkpoint, ledger
from cllm.course import Course
from cllm.errors import InstabilityAbort
from cllm.hooks.reports import Past
from cllm.hooks.verdicts import Abort, Decision, DropShards, LowerLR, Ok, Rewind, SkipStep
from tests.runs import config, digest_of, train


class At:
    """A check that answers as told, by the index of the batch; once each if `once`."""

    def __init__(self, phase: str, answers: dict[int, Any], once: bool = False) -> None:
        self.views: list[Any] = []

        def ask(view: Any) -> Any:
            self.views.append(view)
            inner = getattr(view, "update", view)
            index = getattr(inner, "gradient", inner).batch_index if phase != "after_shard" else view.batch_index
            return (answers.pop(index, Ok()) if once else answers.get(index, Ok())) if index in answers else Ok()

        setattr(self, phase, ask)


def run(folder: Path, *overrides: str, checks: Any = (), name: str = "run", resume: bool = False) -> list[Any]:
    settings, out = config(folder, *overrides), folder / name
    where: Any = {"resume" if resume else "out": out}
    with cllm.Trainer(settings, **where, checks=list(checks)) as trainer:
        return list(trainer)


def events(folder: Path) -> list[tuple[Any, ...]]:
    return [
        (record.event, record.step, record.batch_index, tuple(record.more["reasons"]))
        for record in ledger.read(folder / "ledger.jsonl") if record.event not in (None, ledger.START)
    ]


# --- shards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reducer", ["tree", "ordered"])
@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_dropped_shards_leave_the_mean_of_the_others(
    n_threads: int, lockstep: bool, reducer: str, tmp_path: Path
) -> None:
    """Of 5 sequences in 5 shards the gradient without some is that of a batch that has the others alone, in float64."""
    settings = config(tmp_path, f"train.threads={n_threads}", "train.micro_batch_size=1", f"reducer.name={reducer}")
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        parts = trainer.parts
        engine = parts.engine
        if lockstep and reducer == "tree":
            engine = type(engine)(
                parts.program, 5, n_threads, micro_batch_size=1, seed=settings.train.seed, lockstep=True,
                threads_per_shard=n_threads,
            )
        batch = parts.batches(0)
        whole = engine.gradient(trainer.state.parameters, batch, parts.reducer)
        sums = [engine.shard_gradient(trainer.state.parameters, batch, shard).astype(np.float64) for shard in range(5)]
        for dropped in ({1}, {0, 3}, {4}, {0, 1, 2, 3}):
            left = [shard for shard in range(5) if shard not in dropped]
            found = engine.gradient(trainer.state.parameters, batch, parts.reducer, without=dropped)
            weight = sum(whole.shard_weights[shard] for shard in left)
            assert found.weight_sum == weight
            expected = sum(sums[shard] for shard in left) / weight
            np.testing.assert_allclose(found.gradient, expected, rtol=2e-5, atol=1e-8)
            loss = sum(whole.shard_losses[shard] * whole.shard_weights[shard] for shard in left) / weight
            assert found.loss == pytest.approx(loss, rel=1e-12)
            assert [found.shard_weights[shard] for shard in sorted(dropped)] == [0.0] * len(dropped)
        again = engine.gradient(trainer.state.parameters, batch, parts.reducer)
        assert again.loss == whole.loss


def test_a_run_that_drops_shards_has_one_digest_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = set()
    for n_threads in (1, 2, 3):
        check = At("after_reduction", {4: DropShards((1,), "odd"), 7: DropShards((0, 2), "odder")}, once=True)
        out = f"threads{n_threads}"
        reports = run(tmp_path, f"train.threads={n_threads}", "sinks.console=true", checks=[check], name=out)
        assert [(report.batch_index, report.dropped) for report in reports if report.decision == "drop"] == [
            (4, (1,)), (7, (0, 2)),
        ]
        assert reports[-1].step == 12
        digests.add(digest_of(tmp_path / out))
    assert len(digests) == 1
    assert digests != {digest_of_plain(tmp_path)}
    assert "step 5/12" in capsys.readouterr().err
    assert events(tmp_path / "threads1")[0] == ("drop", 5, 5, ("At: odd",))


def digest_of_plain(folder: Path) -> str:
    train(config(folder), folder / "plain")
    return digest_of(folder / "plain")


def test_what_is_asked_of_shards_that_are_not_there_is_a_failing_check(tmp_path: Path) -> None:
    for number, shards in enumerate(((9,), (1,))):
        check = At("after_reduction", {2: DropShards(shards, "odd")})  # and again without shard 1, which is gone
        with pytest.raises(InstabilityAbort, match=r"cannot be dropped of 0 to 3.*mend the check"):
            run(tmp_path, checks=[check], name=f"run{number}")


def test_without_any_shard_the_batch_is_skipped(tmp_path: Path) -> None:
    reports = run(tmp_path, checks=[At("after_shard", {3: DropShards((0, 1, 2, 3), "all odd")}, once=True)])
    assert [report.batch_index for report in reports if report.decision == "skip"] == [3]


@pytest.mark.parametrize("action", ["abort", "skip", "drop", "rewind"])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_what_is_not_finite_is_answered_as_the_config_says(action: str, n_threads: int, tmp_path: Path) -> None:
    """A loss weight of infinity in one token of shard 2, as a broken loader might give it."""
    settings = config(tmp_path, f"checks.finite.action={action}", f"train.threads={n_threads}", "checks.spike=false")
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        parts, batches = trainer.parts, trainer.parts.batches

        def spoilt(index: int) -> Any:
            batch = batches(index)
            if index == 7:
                batch.weights[2, 5] = math.inf
            return batch

        trainer.parts = dataclasses.replace(parts, batches=spoilt)  # type: ignore[arg-type]
        try:
            reports = {report.batch_index: report for report in trainer}
            assert reports[7].decision == action and action != "abort"
            assert reports[7].dropped == ((2,) if action == "drop" else ())
        except InstabilityAbort as abort:
            assert action == "abort" and abort.came.startswith("finite: ")
        assert np.isfinite(trainer.state.parameters).all()


def test_a_shard_view_tells_of_its_shard(tmp_path: Path) -> None:
    check, settings = At("after_shard", {}), config(tmp_path, "train.steps=1", "schedule.warmup_steps=0")
    with cllm.Trainer(settings, tmp_path / "run", checks=[check]) as trainer:
        parameters = trainer.state.parameters.copy()
        list(trainer)
        trainer.state.parameters[:] = parameters
        assert [view.shard for view in check.views] == [0, 1, 2, 3]
        found = check.views[2].gradient()
        gradient = trainer.parts.engine.shard_gradient(parameters, trainer.parts.batches(0), 2)
    assert found.norm == pytest.approx(float(np.linalg.norm(gradient.astype(np.float64))), rel=1e-5)
    assert (found.largest, found.n_nonfinite) == (float(np.abs(gradient).max()), 0)


# --- views and phases --------------------------------------------------------------------------------------------


def test_every_phase_is_asked_and_sees_what_it_says(tmp_path: Path) -> None:
    class All:
        def __init__(self) -> None:
            self.seen: list[tuple[str, Any]] = []

        def after_shard(self, view: Any) -> Any:
            return self.take("after_shard", view)

        def after_reduction(self, view: Any) -> Any:
            return self.take("after_reduction", view)

        def before_update(self, view: Any) -> Any:
            view.measure()
            return self.take("before_update", view)

        def after_update(self, view: Any) -> Any:
            self.ratio = view.update_ratio("transformer.wte.weight")
            return self.take("after_update", view)

        def take(self, phase: str, view: Any) -> Any:
            self.seen.append((phase, view))
            return Ok()

    check = All()
    reports = run(tmp_path, "train.steps=3", "schedule.name=constant", "schedule.warmup_steps=0", checks=[check])
    phases = [phase for phase, _ in check.seen]
    assert phases == 3 * [*4 * ["after_shard"], "after_reduction", "before_update", "after_update"]
    last = [view for phase, view in check.seen if phase == "after_reduction"][-1]
    assert [past.step for past in last.history] == [1, 2]
    assert [past.loss for past in last.history] == [report.loss for report in reports[:2]]
    assert last.snapshots() == (0,)
    assert "transformer.wte.weight" in last.matrices and set(last.matrices) < set(last.parameters)
    assert 1e-4 < check.ratio < 1.0
    updated = check.seen[-1][1]
    assert updated.finite and updated.learning_rate == reports[-1].learning_rate == 1e-3


def test_magnitudes_are_those_of_the_gradient(tmp_path: Path) -> None:
    found: dict[str, Any] = {}

    class Looks:
        def after_reduction(self, view: Any) -> Any:
            found.update({name: view.magnitude(name) for name in view.parameters})
            return Ok()

    settings = config(tmp_path, "train.steps=1", "schedule.warmup_steps=0")
    with cllm.Trainer(settings, tmp_path / "run", checks=[Looks()]) as trainer:
        parameters = trainer.state.parameters.copy()
        list(trainer)
        gradient = trainer.parts.engine.gradient(parameters, trainer.parts.batches(0), trainer.parts.reducer).gradient
        views = {name: view for name, view in trainer.parts.program.views(gradient)}
    assert set(found) == set(views)
    for name, view in views.items():
        assert found[name].largest == float(np.abs(view).max())
        assert found[name].norm == pytest.approx(float(np.linalg.norm(view.astype(np.float64))), rel=1e-5)


@pytest.mark.parametrize(
    ("phase", "answer"),
    [("before_update", DropShards((0,), "x")), ("after_update", SkipStep("x")), ("after_update", LowerLR(0.5, "x"))],
)
def test_a_verdict_that_comes_too_late_is_a_failing_check(phase: str, answer: Any, tmp_path: Path) -> None:
    with pytest.raises(InstabilityAbort, match=f"{type(answer).__name__} in {phase}, which comes too late"):
        run(tmp_path, checks=[At(phase, {5: answer})])


def test_a_check_can_object_just_before_the_update(tmp_path: Path) -> None:
    reports = run(tmp_path, checks=[At("before_update", {3: SkipStep("odd"), 5: LowerLR(0.5, "slower")})])
    assert [report.decision for report in reports if report.batch_index == 3] == ["skip"]
    usual = run(tmp_path, checks=[At("before_update", {3: SkipStep("odd")})], name="usual")
    assert reports[5].learning_rate == 0.5 * usual[5].learning_rate
    assert events(tmp_path / "run") == [("skip", 3, 4, ("At: odd",)), ("lower_lr", 5, 6, ("At: slower",))]


# --- going back --------------------------------------------------------------------------------------------------


def rewinding(phase: str = "after_reduction", batch: int = 8, steps: int = 1) -> At:
    return At(phase, {batch: Rewind("odd", steps)})


@pytest.mark.parametrize("budget", [0, 1], ids=["disk", "memory"])
@pytest.mark.parametrize(("batch", "steps", "target"), [(8, 1, 5), (8, 4, 0), (11, 1, 10), (11, 3, 5), (3, 1, 0)])
def test_a_run_goes_back_and_leaves_the_batches_out(
    batch: int, steps: int, target: int, budget: int, tmp_path: Path
) -> None:
    """As a run would that had never met them."""
    settings = f"checkpoint.snapshot_mb={budget}"
    reports = run(tmp_path, settings, checks=[rewinding(batch=batch, steps=steps)])
    missed = list(range(target, batch + 1))
    made = [report.step for report in reports if report.decision == "step"]
    assert made == [*range(1, batch + 1), *range(target + 1, 13)]
    assert [(report.batch_index, report.decision) for report in reports if report.decision != "step"] == [
        (batch, "rewind")
    ]
    saved = checkpoint.load_newest(tmp_path / "run/checkpoints")
    assert saved is not None and list(saved.snapshot.skipped) == missed
    assert events(tmp_path / "run") == [("rewind", target, batch + 1, ("At: odd",))]
    run(tmp_path, checks=[At("after_reduction", dict.fromkeys(missed, SkipStep("missed")))], name="never")
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "never")


def test_a_rewind_after_the_update_undoes_it(tmp_path: Path) -> None:
    reports = run(tmp_path, checks=[rewinding("after_update", batch=10)])
    assert [report.step for report in reports if report.decision == "step"] == [*range(1, 11), 11, 12]
    saved = checkpoint.load_newest(tmp_path / "run/checkpoints")
    assert saved is not None and saved.snapshot.skipped == (10,)


@pytest.mark.parametrize("stop", range(1, 17))
def test_a_run_that_is_stopped_and_resumed_goes_back_to_the_same(stop: int, tmp_path: Path) -> None:
    """Stopped after each of its steps in turn, before the rewind and after it, with a checkpoint that comes between."""
    run(tmp_path, checks=[rewinding()], name="whole")
    with cllm.Trainer(config(tmp_path, "train.threads=1"), tmp_path / "run", checks=[rewinding()]) as trainer:
        for number, _ in enumerate(trainer, 1):
            if number == stop:
                break
        trainer.save()  # as Ctrl-C does
    run(tmp_path, "train.threads=3", checks=[rewinding()], resume=True)
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")
    whole, resumed = ((tmp_path / name / "ledger.jsonl").read_bytes() for name in ("whole", "run"))
    assert whole == resumed


@pytest.mark.parametrize("n_done", range(1, 8))
def test_a_run_that_is_killed_while_it_goes_back_comes_to_the_same(
    n_done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the n-th rename of a rewind: of the state that is saved, and of those that are given up."""
    run(tmp_path, "checkpoint.every=2", checks=[rewinding(batch=9, steps=4)], name="whole")
    rename, left = checkpoint.atomic.rename, [math.inf]

    def killed(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit("killed")
        rename(source, target)

    monkeypatch.setattr(checkpoint.atomic, "rename", killed)
    begun = cllm.Trainer._rewind

    def rewind(self: Any, made: Any) -> None:
        left[0] = n_done
        begun(self, made)
        left[0] = math.inf

    monkeypatch.setattr(cllm.Trainer, "_rewind", rewind)
    try:
        run(tmp_path, "checkpoint.every=2", checks=[rewinding(batch=9, steps=4)])
    except SystemExit:
        left[0] = math.inf
        monkeypatch.undo()
        run(tmp_path, "checkpoint.every=2", checks=[rewinding(batch=9, steps=4)], resume=True)
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")


def test_a_run_that_goes_back_again_and_again_ends(tmp_path: Path) -> None:
    """Whether it gets on for a while in between, or goes back to its beginning at once."""
    for number, (batches, steps) in enumerate(((range(7, 100, 4), [5, 5, 5, 5]), (range(7, 100), [5, 0, 0, 0, 0]))):
        check = At("after_reduction", {n: Rewind("never") for n in batches})
        with pytest.raises(InstabilityAbort, match=f"went back to step {steps[-1]} more than 3 times") as caught:
            run(tmp_path, checks=[check], name=f"run{number}")
        assert caught.value.exit_code == 17
        assert [step for event, step, *_ in events(tmp_path / f"run{number}") if event == "rewind"] == steps


def test_weights_that_a_run_began_with_are_its_beginning(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "first")
    settings = config(tmp_path, "checkpoint.every=2", "checkpoint.keep=1")
    check = At("after_reduction", {9: Rewind("odd", steps=9)})
    with cllm.Trainer(settings, tmp_path / "run", init_from=tmp_path / "first", checks=[check]) as trainer:
        start = trainer.state.parameters.copy()
        for report in trainer:
            if report.decision == "rewind":
                assert (trainer.state.parameters == start).all()
                assert (trainer.state.step, trainer.state.batch_index) == (0, 10)
    assert report.step == 12


# --- updates that spoil parameters, and limits ----------------------------------------------------------------------


def test_an_update_that_is_not_finite_is_undone(tmp_path: Path) -> None:
    """By an optimizer that does not look itself."""
    with cllm.Trainer(config(tmp_path), tmp_path / "run") as trainer:
        optimizer = trainer.parts.optimizer
        step = optimizer.step

        def spoils(parameters: Any, *arguments: Any, **named: Any) -> None:
            step(parameters, *arguments, **named)
            if trainer.state.step == 7:
                parameters[5] = math.inf

        optimizer.step = spoils  # type: ignore[method-assign]
        first = next(iter(trainer.parts.program.table))
        with pytest.raises(InstabilityAbort, match=r"step 8: finite: .* the state after step 5 is") as abort:
            list(trainer)
        place = re.escape(f"the update has made {first}[0, 5] inf, with the learning rate ")
        assert re.search(place + r"[\d.e-]+ and the gradient -?[\d.e-]+ times [\d.]+", abort.value.came)
        assert np.isfinite(trainer.state.parameters).all()
        assert trainer.state.step == 5
    assert digest_of(tmp_path / "run") == trainer.state.digest()


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("element", [0, 15, 16, 4000, -1])
def test_an_optimizer_sees_what_is_not_finite(name: str, n_threads: int, element: int, tmp_path: Path) -> None:
    with cllm.Trainer(config(tmp_path, f"optimizer.name={name}"), tmp_path / "run") as trainer:
        parameters, step = trainer.state.parameters, trainer.parts.optimizer.step
        gradient = np.zeros_like(parameters)
        options: Any = {"learning_rate": 0.1, "gradient_scale": 1.0, "n_threads": n_threads}
        assert step(parameters, gradient, **options) is True
        for value in (math.nan, math.inf, -math.inf):
            parameters[element] = value
            assert step(parameters, gradient, **options) is False
            parameters[element] = 0.0
        assert step(parameters, gradient, **options) is True


RATES = (1e-6, 1e-4, 1e-2, 1.0, 10.0, 100.0, 1e3)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_no_learning_rate_leaves_parameters_that_are_not_finite(rate: float, optimizer: str, tmp_path: Path) -> None:
    """The harsh ones end in an Abort that names its check; on configuration S of the benchmarks, without clipping."""
    sizes = ("model.block_size=64", "model.n_layer=4", "model.n_head=4", "model.n_embd=128", "train.batch_size=12")
    settings = config(
        tmp_path, *sizes, f"optimizer.name={optimizer}", f"optimizer.learning_rate={rate}", "train.steps=25",
        "train.eval_every=0", "checks.clip=false", "checks.spike=false", "schedule.warmup_steps=0",
    )
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        try:
            list(trainer)
        except InstabilityAbort as abort:
            assert "finite: " in abort.came
            assert rate >= 1.0
        assert np.isfinite(trainer.state.parameters).all()
    saved = checkpoint.load_newest(tmp_path / "run/checkpoints")
    assert saved is not None and saved.digest == trainer.state.digest()


def test_more_than_one_percent_of_skips_end_a_long_run() -> None:
    course = Course()
    for n_batches in range(1, 1100):
        if n_batches % 60:
            course.updated(Past(n_batches, 1.0, 1.0, 1e-3), Decision("step"))
            assert course.refusal(n_batches) is None
            continue
        course.skipped()
        refusal = course.refusal(n_batches)
        assert refusal == (None if n_batches < 1000 else ("17 of 1,020 batches were skipped", "at most 1 %"))
        if refusal:
            return


def test_a_copy_in_memory_needs_no_disk(tmp_path: Path) -> None:
    settings = config(tmp_path, "checkpoint.snapshot_mb=1")
    with cllm.Trainer(settings, tmp_path / "run", checks=[rewinding()]) as trainer:
        for report in trainer:
            if report.step == 8 and report.decision == "step":
                shutil.rmtree(tmp_path / "run/checkpoints/step-00000005")
    run(tmp_path, checks=[rewinding()], name="whole")
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")


def test_a_checkpoint_that_is_damaged_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run", checks=[rewinding(batch=11)]) as trainer:
        for report in trainer:
            if report.batch_index == 10:
                file = tmp_path / "run/checkpoints/step-00000010/model.safetensors"
                file.write_bytes(file.read_bytes()[:-1])
    assert "cannot go back to step 10: " in capsys.readouterr().err
    assert events(tmp_path / "run")[0][:3] == ("rewind", 5, 12)


def test_decisions_are_counted_in_the_ledger(tmp_path: Path) -> None:
    answers = {2: SkipStep("odd"), 4: DropShards((0,), "odder"), 5: LowerLR(0.5, "slower"), 6: LowerLR(0.5, "slower")}
    reports = run(tmp_path, checks=[At("after_reduction", answers, once=True)])
    record = ledger.read(tmp_path / "run/ledger.jsonl")[-1]
    clipped = sum(report.clip < 1.0 for report in reports)
    assert record.more["decisions"] == {"skip": 1, "drop": 1, "lower_lr": 2, "clip": clipped}
    kinds = [event for event, *_ in events(tmp_path / "run")]
    assert kinds == ["skip", "drop", "lower_lr"]  # the second update at the same rate is no news
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["decision"] for line in metrics].count("drop") == 1


def test_an_abort_is_in_the_ledger(tmp_path: Path) -> None:
    with pytest.raises(InstabilityAbort):
        run(tmp_path, checks=[At("after_reduction", {6: Abort("enough")})])
    assert events(tmp_path / "run") == [("abort", 6, 6, ("At: enough",))]


@pytest.mark.parametrize("make", [lambda: DropShards((), "x"), lambda: DropShards((-1,), "x"), lambda: Rewind("x", 0)])
def test_verdicts_that_mean_nothing_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError):
        make()
