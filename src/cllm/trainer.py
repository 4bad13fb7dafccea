"""The training loop. It knows no plugin and no kernel by name: it asks, decides, updates and reports.

    for report in Trainer(config, out="runs/mine"):
        print(report.step, report.loss)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from cllm import checkpoint, env
from cllm.arguments import check_trainer_arguments, labelled
from cllm.assemble import Assembly, assemble
from cllm.binding import Batch
from cllm.checkpoint import Checkpoint
from cllm.config import Config, located, to_mapping, to_toml
from cllm.debug import Debug
from cllm.earlier import Earlier
from cllm.errors import CheckpointError, InstabilityAbort, RankError
from cllm.evaluate import Evaluation
from cllm.facts import facts_of
from cllm.floats import standard_floats
from cllm.hooks.calling import warn
from cllm.hooks.making import problem
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import Reducer, StabilityCheck
from cllm.hooks.reports import RunInfo, StepReport
from cllm.interrupts import Interrupts
from cllm.judging import Judged, judge, update
from cllm.ledger import Ledger, Record
from cllm.measuring import NOTHING_MEASURED, Measured, evaluate_source, measured
from cllm.meter import Meter
from cllm.outcomes import ENDINGS, Interrupted, ReducerFailed
from cllm.progress import Pace
from cllm.ranks import ALIKE, RankFailed, hand_over, join
from cllm.resume import refuse_fewer_steps, refuse_other_data, refuse_other_numerics, resumed_config
from cllm.together import agree_on_beginning, open_data, open_folder, remarks, seen_in
from cllm.views import view_of
from cllm.watching import Watching, told


class Trainer:
    """Trains a model as a config says; iterating makes one step at a time and yields its report.

    out: the run folder, absent or empty; left out, runs/NAME-N. resume: a run folder to go on in. init_from: a
    run whose weights the first step starts from. reducer and checks: plain objects instead of, or besides, those
    that the config names; a check is labelled by its class. Raises UsageError and PluginError for what is none of
    these. What happens on Ctrl-C: the unfinished step is abandoned, the last finished state is saved,
    KeyboardInterrupt goes on; and on SIGTERM, unless the program handles it itself, the same with Terminated, a
    SystemExit. Where `[dist]` names a communicator, every rank makes the same calls; rank 0 alone writes. RankError if
    one ends before the others, or comes to something else.

    To look at between steps: config (as resolved), n_steps, state (its step, its batch_index, its parameters (P,)),
    folder (its path), leads (whether this is rank 0, or there is no other).
    """

    def __init__(
        self, config: Config, out: str | Path | None = None, *, resume: str | Path | None = None,
        init_from: str | Path | None = None, plugins: Plugins | None = None,
        reducer: Reducer | None = None, checks: Sequence[StabilityCheck] | None = None,
    ) -> None:
        check_trainer_arguments(config, out, resume, init_from, plugins, reducer, checks)
        self.plugins = plugins or build_manager(allow=config.plugins.allow)
        own_checks = labelled(checks or [], taken={"finite", *config.checks})
        self.ranks = join(self.plugins.make_communicator(config), ENDINGS)
        with self._told_to_others(alike=(RankError,)):
            self.folder = open_folder(self.ranks, config.name, out, resume)
        try:
            with self._told_to_others(alike=(RankError,)):
                self._assemble(config, resume is not None, init_from, reducer, own_checks)
        except BaseException:
            # A run that could not begin leaves nothing, but not before the others know, who may be about to read its
            # data; one that was to go on stays as it is.
            (self.folder.discard if resume is None and self.leads else self.folder.close)()
            raise

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which writes and prints, or the only process."""
        return self.ranks.leads

    @standard_floats()
    def _assemble(
        self, config: Config, resuming: bool, init_from: str | Path | None,
        reducer: Reducer | None, checks: Mapping[str, StabilityCheck],
    ) -> None:
        self.warnings: tuple[str, ...] = ()
        config = located(config)
        if resuming:
            config = resumed_config(self.folder.config_path, config, self.plugins)
        elif self.leads and not self.folder.config_path.exists():
            self.folder.write_config(to_toml(config))
        saved = checkpoint.load_newest(self.folder.checkpoints) if resuming and self.leads else None
        data = open_data(self.ranks, config, self.plugins, self.folder.path / "data")
        if saved is not None:
            refuse_other_data(saved.facts, data, "resume")
        data.verify()
        if data.validation is None and config.data.validation:
            self.warnings += ("there is no validation part: no loss but that of the batches is measured",)
        self.parts: Assembly = assemble(config, data, self.plugins, reducer, checks, self.ranks)
        self.config, self.state = self.parts.config, self.parts.state
        self.n_steps = self.config.train.steps or 0
        named = self.plugins.who("reducer", self.config.reducer.name)
        self._own_reducer = reducer is not None
        self._reducer = f"reducer {type(reducer).__name__}" if reducer is not None else named
        self.facts = facts_of(self.parts, self.plugins)
        saving = self.config.checkpoint
        self.earlier = Earlier(
            self.state, self.folder.checkpoints, saving.every, saving.keep, saving.snapshot_mb << 20, self.parts.begin
        )
        if saved is not None:
            self._restore(saved)
        elif init_from is not None and self.leads:
            self.state.set_parameters(checkpoint.load_weights(Path(init_from), self.state.table), str(init_from))
            self.state.course.from_weights = True
        if resuming or init_from is not None:
            hand_over(self.ranks, self.state)
        agree_on_beginning(self.ranks, self.config, self.facts, self.state)
        self.warnings = (*self.warnings, *remarks(self.ranks, self.parts.n_threads)) if self.leads else ()
        self.ledger = self._begin_records() if self.leads else None
        self.metrics = self.plugins.make_metrics(self.config.metrics)
        self._validation: tuple[int, float] | None = None  # step and loss of the last evaluation
        train = self.config.train
        self.debug = Debug.of(
            env.debug() if self.leads else 0, self.parts.program, train.batch_size, train.micro_batch_size, train.seed
        )
        self._saved = self._place if saved is not None else None  # the place of the newest checkpoint
        self._saved_to = saved.path if saved is not None else None
        self._incident = ""  # what is known of the step, if it was stopped
        if init_from is not None and saved is None:
            self.save()  # or a resume before the first checkpoint would not know of these weights

    def _begin_records(self) -> Ledger:
        self.folder.cut_after(self.state.batch_index)
        self.folder.write_config(to_toml(self.config))
        self.sinks = self.plugins.make_sinks(self.config.sinks, self.folder.path, self.config.train.log_every)
        ledger = self.folder.open_ledger()
        ledger.begin(self.state.step, self.state.batch_index, self.plugins.versions())
        if self.ranks.are_fast:
            more = {"ranks": self.ranks.n_ranks}
            ledger.append(Record(self.state.step, self.state.batch_index, event="fast", more=more))
        return ledger

    def _restore(self, saved: Checkpoint) -> None:
        refuse_other_numerics(saved, self.facts)
        refuse_fewer_steps(self.n_steps, saved)
        checkpoint.restore(self.state, saved)
        self.warnings += saved.warnings

    def __iter__(self) -> Iterator[StepReport]:
        """The loop: each step is computed, judged, made or skipped, reported, and now and then evaluated and saved."""
        self._clear()
        self._fire("cllm_run_start", run=self._info())
        with self._told_to_others(), Interrupts(self.stop) as interrupts, Watching(self._told):
            try:
                yield from self._steps()
                self.save()
            except Interrupted:
                self.save()
                raise interrupts.ending() from None
            finally:
                self._clear()  # the run has ended, as was asked; an evaluation afterwards is another matter
                self._fire("cllm_run_end", run=self._info())

    def _steps(self) -> Iterator[StepReport]:
        state, parts, train = self.state, self.parts, self.config.train
        pace, meter = Pace(), Meter(parts.n_threads)
        while not self.is_over:
            begin = perf_counter()
            with standard_floats(), meter:
                batch = parts.batches(state.batch_index)
                try:
                    made = judge(parts, batch, self.earlier.steps)
                except ReducerFailed as failed:
                    raise self._without_reducer(failed) from failed.__cause__
                if self.debug:
                    self.debug.show(state.parameters, batch, made.gradient, made.view.parameter_norm, meter.busy)
                if made.decision.kind == "step":
                    if made.decision.shards:
                        self._look_into(made)
                    made = update(parts, made)
            seconds = perf_counter() - begin
            used = meter.utilisation(seconds)
            if made.decision.kind != "step":
                self._look_into(made)

            decision, updated = made.decision, made.decision.kind == "step"
            if decision.kind == "skip":
                state.skip(batch.index)
            found = self._measured() if updated and self._is_due(train.eval_every) else NOTHING_MEASURED
            report = StepReport(
                step=state.step if updated else made.view.step, n_steps=self.n_steps, batch_index=batch.index,
                loss=made.gradient.loss, validation_loss=found.validation_loss,
                gradient_norm=made.view.gradient_norm, learning_rate=made.learning_rate, clip=decision.clip,
                n_tokens=batch.inputs.size, seconds=seconds,
                tokens_per_second=pace.tokens_per_second(batch.inputs.size, seconds),
                useful_cpu=used.useful_cpu, load_balance=used.load_balance, serial_share=used.serial_share,
                parallel_efficiency=used.parallel_efficiency,
                eta_seconds=pace.eta(self.n_steps - state.step),
                decision="drop" if updated and decision.shards else decision.kind, reasons=decision.reasons,
                digest=state.digest() if updated and self._is_due(train.digest_every) else None,
                dropped=tuple(sorted(decision.shards)), evaluations=found.evaluations, sample=found.sample,
                metrics=self._metrics(batch) if updated and self.leads else {},
            )
            self.ranks.note(partial(seen_in, report))
            if self.leads:
                self._tell(report, made.is_news)
            if decision.kind == "rewind":
                self._rewind(made)
            elif not made.finite:
                self._undo(made)
            elif updated and self._is_due(self.config.checkpoint.every):
                self.save()
            yield report
            self._refuse_to_go_on(report, decision.failed)

    def evaluate(self) -> Evaluation | None:
        """The loss over the validation part, or as much of it as eval_batches says."""
        parts = self.parts
        if parts.evaluator is None or parts.data.validation is None:
            return None
        result = evaluate_source(parts, parts.data.validation)
        self._validation = (self.state.step, result.loss)
        return result

    def _measured(self) -> Measured:
        """All that is due at an evaluation; the validation loss is one of the run's own course."""
        validation = self.evaluate()
        if validation:
            self.state.course.evaluated(validation.loss)
        return measured(self.parts, validation)

    def _metrics(self, batch: Batch) -> dict[str, float]:
        """What plugins have to say of the batch of an update, at steps that are logged."""
        if not self.metrics or not self._is_due(self.config.train.log_every):
            return {}
        return self.metrics.measure(view_of(batch, self.state.step))

    @property
    def is_over(self) -> bool:
        """Whether the run has come to its end."""
        return self.state.step >= self.n_steps or self.is_stale

    @property
    def is_stale(self) -> bool:
        """Whether the validation loss has not fallen for as many evaluations as [train] patience says."""
        return 0 < self.config.train.patience <= self.state.course.stale

    @property
    def is_saved(self) -> bool:
        """Whether there is a checkpoint of the last finished state."""
        return self._saved == self._place

    @property
    def _place(self) -> tuple[int, int]:
        # Batches too: after an update that was saved, others may have been skipped.
        return self.state.step, self.state.batch_index

    @standard_floats()
    def save(self) -> Path | None:
        """A checkpoint of the last finished state, if there is none yet."""
        if self.is_saved:
            return None
        if not self.leads:
            self._saved = self._place  # by rank 0
            return None
        settings = self.config.checkpoint
        measured = self._validation if self._validation and self._validation[0] == self.state.step else None
        path = checkpoint.save(
            self.folder.checkpoints, self.state, self.facts, validation_loss=measured[1] if measured else None,
            keep=settings.keep, keep_best=settings.keep_best, every=settings.every,
        )
        self._saved, self._saved_to = self._place, path
        self.earlier.keep()
        self._fire("cllm_checkpoint", path=path)
        return path

    def stop(self) -> None:
        """Ask the run to end: the unfinished step is abandoned, the last finished state saved."""
        for engine in (self.parts.engine, self.parts.evaluator):
            if engine is not None:
                engine.stop()

    def _clear(self) -> None:
        for engine in (self.parts.engine, self.parts.evaluator):
            if engine is not None:
                engine.clear()

    def close(self) -> None:
        """Give the run folder back. With other ranks: all do, or RankError says who has left before."""
        try:
            with self._told_to_others():
                self.ranks.leave()
        finally:
            if self.ledger is not None:
                self._end_records(self.ledger)

    def _end_records(self, ledger: Ledger) -> None:
        try:
            self.sinks.close()
            ledger.close()
        finally:
            self.folder.close()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                with self._told_to_others():
                    self.ranks.fail(error)
        finally:
            self.close()

    @contextmanager
    def _told_to_others(self, alike: tuple[type[BaseException], ...] = ALIKE) -> Iterator[None]:
        """What ends this rank in here is told to the others, and what has ended another one is a RankError."""
        try:
            try:
                yield
            except BaseException as error:
                self.ranks.fail(error, alike)
                raise
        except RankFailed as failed:
            raise self._without_rank(failed) from None

    def _look_into(self, made: Judged) -> None:
        """The receipt of a step that is stopped, or loses shards, before anything has changed: see incident.py."""
        self._incident = ""
        if made.decision.failed or self.state.step != made.view.step or not self.leads:
            return
        from cllm.incident import Stopped, report  # nothing of it before the first one

        if made.decision.kind == "abort":
            self._kept()  # now, for then the receipt needs no weights of its own
        saved = self._saved_to / checkpoint.MODEL if self._saved_to and self.is_saved else None
        self._incident = report(Stopped(self.parts, self.facts, made, self._own_reducer, saved), self.folder.incidents)

    def _rewind(self, made: Judged) -> None:
        """Go on from an earlier state with the batch after this one; the batches since then are left out."""
        state, since, now = self.state, self.state.course, made.batch.index + 1
        self._go_back(state.step - made.decision.steps)
        state.leave_out(range(state.batch_index, now))
        state.course.rewound(state.step, since)
        if self.ledger is not None:
            self.ledger.append(Record(state.step, now, event="rewind", more={"reasons": made.decision.reasons}))
        # First the state that the run goes on from, then away with what it has given up: killed in between, the run
        # goes on from the latter, and comes to the same decision again.
        self.save()
        if self.leads:
            self.earlier.forget_after(state.step)

    def _go_back(self, at_most: int) -> None:
        """To the newest earlier state that is not after this step; rank 0 has them, and hands it over."""
        if self.leads:
            warn(*self.earlier.go_back(at_most))
        hand_over(self.ranks, self.state)

    def _undo(self, made: Judged) -> None:
        """After an update that has spoilt the parameters, which ends the run, they are those of an earlier state."""
        self._go_back(made.view.step)
        self._saved = None

    def _refuse_to_go_on(self, report: StepReport, check_failed: bool) -> None:
        """InstabilityAbort where a check demands it or fails, or where skips or rewinds have come too often."""
        refusal = self.state.course.refusal(self.state.batch_index) if report.decision in ("skip", "rewind") else None
        if report.decision == "abort":
            found = [self._incident] if self._incident else []
            refusal = "; ".join([*report.reasons, *found]), "a step that all checks allow"
        if refusal is None:
            return
        came, expected = refusal
        advice = f"begin a new run with --init-from {self.folder.path} and a lower learning rate, or look at the data"
        if check_failed:
            advice = f"mend the check and go on with: cllm train --resume {self.folder.path}"
        raise self._abort(report.step + 1, came, expected, advice)

    def _without_reducer(self, failed: ReducerFailed) -> InstabilityAbort:
        """A reducer's failure is Abort, as a check's is."""
        came = f"{self._reducer} failed: {problem(failed.__cause__ or failed, self.parts.reducer)}"
        advice = f"mend it and go on with: cllm train --resume {self.folder.path}"
        return self._abort(self.state.step + 1, came, "a reducer that works", advice)

    def _without_rank(self, failed: RankFailed) -> RankError:
        """The end of all that has begun with another rank's; its words are on its own standard error, too."""
        todo = "mend that, and begin again"
        if hasattr(self, "_incident"):  # it had begun
            todo = f"{self._kept()}; mend that and go on with: cllm train --resume {self.folder.path}"
        error = RankError("ranks", str(failed), "all to come to the end", todo)
        error.is_echo, error.exit_code = not self.leads, failed.exit_code
        return error

    def _abort(self, step: int, came: str, expected: str, advice: str) -> InstabilityAbort:
        error = InstabilityAbort(f"step {step}", came, expected, f"{self._kept()}; {advice}")
        error.is_echo = not self.leads
        return error

    def _kept(self) -> str:
        """Saves the last finished state, which a step that is refused has not touched; says what has become of it."""
        state = f"the state after step {self.state.step}"
        try:
            self.save()
        except CheckpointError as error:  # a state that is not finite, or a disk that is full
            return f"{state} could not be saved ({error.came})"
        except Exception as error:  # a check that does not say what it remembers
            return f"{state} could not be saved ({problem(error)})"
        return f"{state} is saved in {self.folder.path}"

    def _is_due(self, every: int) -> bool:
        """Whether this step is one to log, evaluate, digest or save at; the last one of the run always is."""
        return self.is_over or (every > 0 and self.state.step % every == 0)

    def _fire(self, event: str, **values: Any) -> None:
        if self.leads:
            self.plugins.fire(event, **values)

    def _tell(self, report: StepReport, is_news: bool) -> None:
        state = self.state
        assert self.ledger is not None
        if is_news and report.decision != "rewind":  # whose record tells where it led
            event = "lower_lr" if report.decision == "step" else report.decision
            self.ledger.append(Record(report.step, state.batch_index, event=event, more={"reasons": report.reasons}))
        if report.digest is not None:
            counts = {"decisions": dict(state.course.counts)}
            self.ledger.append(Record(report.step, state.batch_index, report.digest, more=counts))
        self.sinks.emit(report)
        self.plugins.fire("cllm_step_end", report=report)
        if report.validation_loss is not None:
            self.plugins.fire("cllm_evaluation", report=report)
        if report.decision != "step":
            self.plugins.fire("cllm_instability", report=report)

    def _told(self) -> Iterator[str]:
        """What SIGUSR1 prints."""
        parts, state = self.parts, self.state
        engines = [engine for engine in (parts.engine, parts.evaluator) if engine is not None]
        return told(state.step, self.n_steps, state.batch_index, engines)

    def _info(self) -> RunInfo:
        return RunInfo(
            self.config.name, self.folder.path, self.state.step, self.n_steps, to_mapping(self.config)
        )
