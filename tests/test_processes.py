"""Training beside other processes: after a fork, under spawn, in a thread, and a step that is interrupted."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.engine import Engine
from cllm.errors import DataError
from cllm.interrupts import Interrupts, Terminated
from cllm.outcomes import Interrupted
from tests.models import Tree, a_batch, a_model, digest
from tests.runs import config


def a_digest() -> str:
    program, parameters = a_model("plain")
    return digest(Engine(program, 5, 3).gradient(parameters, a_batch(program, 5), Tree()).gradient)


def send_digest(pipe: multiprocessing.connection.Connection) -> None:
    pipe.send(a_digest())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_process_computes_the_same(method: str) -> None:
    expected = a_digest()  # the parent's thread pool exists before the fork
    context = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    child = context.Process(target=send_digest, args=(theirs,))
    child.start()
    assert mine.poll(60), f"a child by {method} hangs"
    assert mine.recv() == expected
    child.join()
    assert a_digest() == expected


def test_python_threads_compute_side_by_side() -> None:
    expected, found = a_digest(), []
    threads = [threading.Thread(target=lambda: found.append(a_digest())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 4


def long_step() -> tuple[Engine, object, object]:
    program, parameters = a_model("plain", n_layer=6, n_embd=256, n_head=4, block_size=256, vocab_size=4096)
    return Engine(program, 16, 2), parameters, a_batch(program, 16)


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Python's own SIGINT: a parent that ignores it (nohup, some CI runners) hands that down."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_signal_ends_a_long_step_soon(interrupts: None) -> None:
    engine, parameters, batch = long_step()
    sent = 0.0

    def interrupt() -> None:
        nonlocal sent
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.15, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            engine.gradient(parameters, batch, Tree())  # type: ignore[arg-type]
    late = time.monotonic() - sent
    timer.join()
    # 250 ms is the promise on a machine of one's own; a loaded test machine gets more.
    assert late < 2.0


def test_stop_ends_a_step_from_another_thread() -> None:
    engine, parameters, batch = long_step()
    timer = threading.Timer(0.15, engine.stop)
    timer.start()
    with pytest.raises(Interrupted):
        for _ in range(200):
            engine.gradient(parameters, batch, Tree())  # type: ignore[arg-type]
    timer.join()


def test_every_stop_ends_exactly_one_call() -> None:
    """Whenever it comes: one after a call's last look is the next call's."""
    # Few tokens and many parameters: merging, in which nobody looks at the flag, is much of such a call.
    program, parameters = a_model("plain", n_layer=1, vocab_size=20000, block_size=4)
    engine, batch, moments = Engine(program, 4, 2), a_batch(program, 4), random.Random(3)
    for _ in range(150):
        asked = threading.Event()

        def ask(after: float, asked: threading.Event = asked) -> None:
            time.sleep(after)
            engine.stop()
            asked.set()

        asking = threading.Thread(target=ask, args=(moments.uniform(0.0, 0.01),))
        asking.start()
        n_ended = 0
        while not asked.is_set():
            n_ended += is_ended(engine, parameters, batch)
        n_ended += is_ended(engine, parameters, batch)
        asking.join()
        assert n_ended == 1


def is_ended(engine: Engine, parameters: object, batch: object) -> bool:
    try:
        engine.gradient(parameters, batch, Tree())  # type: ignore[arg-type]
    except Interrupted:
        return True
    return False


def test_a_call_that_fails_leaves_the_stop_to_the_next() -> None:
    program, parameters = a_model("plain")
    engine, batch, wrong = Engine(program, 5, 2), a_batch(program, 5), a_batch(program, 5)
    wrong.inputs[...] = program.vocab_size
    assert not is_ended(engine, parameters, batch)
    with pytest.raises(DataError):
        engine.gradient(parameters, wrong, Tree())
    assert not is_ended(engine, parameters, batch), "a failure is no stop"
    engine.stop()
    assert is_ended(engine, parameters, batch)
    assert not is_ended(engine, parameters, batch)


def test_a_stopped_trainer_still_evaluates(tmp_path: Path) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run") as trainer:
        with pytest.raises(KeyboardInterrupt):
            for report in trainer:
                if report.step == 2:
                    trainer.stop()
        evaluation = trainer.evaluate()
        assert evaluation is not None and evaluation.n_tokens > 0


@pytest.fixture
def terminations() -> Iterator[None]:
    """A SIGTERM that ends nothing, should a test fail."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.default_int_handler])
def test_the_first_interrupt_asks_unless_interrupts_are_ignored(before: Any, interrupts: None) -> None:
    signal.signal(signal.SIGINT, before)
    asked: list[int] = []
    with Interrupts(lambda: asked.append(1)):
        signal.raise_signal(signal.SIGINT)
        assert len(asked) == int(before != signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) == before


def test_the_second_interrupt_waits_and_the_third_breaks_in(
    interrupts: None, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []
    with pytest.raises(KeyboardInterrupt), Interrupts(lambda: asked.append(1)):
        signal.raise_signal(signal.SIGINT)
        assert not capfd.readouterr().err
        signal.raise_signal(signal.SIGINT)
        assert "once more ends at once" in capfd.readouterr().err
        signal.raise_signal(signal.SIGINT)
    assert asked == [1]


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.default_int_handler])
def test_a_termination_that_is_ignored_or_handled_stays_so(
    before: Any, interrupts: None, terminations: None
) -> None:
    signal.signal(signal.SIGTERM, before)
    with Interrupts(lambda: None):
        assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, None), (signal.SIGTERM, 143)])
def test_a_run_ends_by_the_signal_that_came_first(
    number: signal.Signals, code: int | None, interrupts: None, terminations: None
) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with Interrupts(lambda: None) as inside:
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        signal.raise_signal(number)
    assert isinstance(inside.ending(), Terminated if code else KeyboardInterrupt)
    assert getattr(inside.ending(), "code", None) == code
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
