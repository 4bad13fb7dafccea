"""SIGUSR1 tells what every thread is doing, also in compiled code and in a hang, and disturbs nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.engine import Engine
from cllm.kernels import executor
from cllm.watching import Watching, threads_of, told
from tests.cli.test_train import CHILD, LONG
from tests.models import Tree, a_batch, a_model, digest
from tests.runs import TEXT, config, digest_of, train
from tests.test_processes import long_step

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no SIGUSR1")
WORKING = re.compile(r"cllm: thread \d: shard \d+, transformer\.\S+ \(\w+\) (forward|backward)")


@pytest.fixture
def usr1() -> Iterator[None]:
    """The signal as a program finds it, whatever a test leaves."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGUSR1, before)


def wait_for(seen: Callable[[], str], wanted: re.Pattern[str] | str) -> str:
    """What has been printed, once it has that in it."""
    text, end = "", time.monotonic() + 30
    while not re.search(wanted, text):
        assert time.monotonic() < end, text
        time.sleep(0.01)
        text += seen()
    return text


def test_what_threads_compute_is_told_and_no_bit_changes(usr1: None, capfd: pytest.CaptureFixture[str]) -> None:
    engine, parameters, batch = long_step()
    gradient: Any = lambda: digest(engine.gradient(parameters, batch, Tree()).gradient)  # type: ignore[arg-type]  # noqa: E731
    expected, over = gradient(), threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            os.kill(os.getpid(), signal.SIGUSR1)

    asking = threading.Thread(target=ask)
    with Watching(lambda: told(6, 9, 7, [engine])):
        asking.start()
        found = {gradient() for _ in range(3)}
        over.set()
        asking.join()
    errors = capfd.readouterr().err
    assert found == {expected}
    assert re.search(r"cllm: step 7 of 9, batch 7; in Python: _fold_inside \(engine\.py:\d+\) < gradient ", errors)
    assert len(WORKING.findall(errors)) > 3 and {"forward", "backward"} == set(WORKING.findall(errors))
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_hang_in_compiled_code_is_seen(usr1: None, capfd: pytest.CaptureFixture[str]) -> None:
    """The main thread waits for ever, asks for no signal and cannot be woken by one."""
    libc = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(64)
    assert libc.pthread_mutex_init(mutex, None) == 0
    libc.pthread_mutex_lock(mutex)

    def printed() -> str:
        """Asked again each time: at first the main thread may be waiting for this one to have begun."""
        os.kill(os.getpid(), signal.SIGUSR1)
        return capfd.readouterr().err

    def ask() -> None:
        try:
            seen.append(wait_for(printed, "in Python: test_a_hang"))
        finally:
            libc.pthread_mutex_unlock(mutex)

    seen: list[str] = []
    asking = threading.Thread(target=ask)
    with Watching(lambda: told(0, 1, 0, [])):
        asking.start()
        libc.pthread_mutex_lock(mutex)
        asking.join()
    assert seen


def test_every_way_of_working_and_waiting_has_its_words() -> None:
    program, parameters = a_model("plain")
    engine = Engine(program, 5, 3)
    assert list(threads_of(engine)) == [f"thread {n}: idle" for n in range(3)]
    engine.gradient(parameters, a_batch(program, 5), Tree())
    assert list(threads_of(engine)) == [f"thread {n}: idle" for n in range(3)]
    n_ops = len(program.ops)
    engine.workers["doing"] = executor.PACK, executor.MEET, 2 * n_ops - 1
    engine.workers["waits"], engine.workers["shard"] = (0, 0, 1), 4
    op = program.ops[0]
    assert list(threads_of(engine)) == [
        "thread 0: packs weights", "thread 1: combines the gradients of all threads",
        f"thread 2: shard 4, {op.name} ({op.kind.name}) backward, waits for the others of its team",
    ]


def test_what_the_program_uses_itself_is_left_alone(usr1: None) -> None:
    mine: Callable[..., None] = lambda *_: None  # noqa: E731
    signal.signal(signal.SIGUSR1, mine)
    with Watching(lambda: iter(())):
        assert signal.getsignal(signal.SIGUSR1) == mine
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    try:
        with Watching(lambda: iter(())):
            assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        assert signal.set_wakeup_fd(-1) == writing
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("call", ["pipe", "write"])
def test_a_run_does_not_end_for_want_of_it(call: str, usr1: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no pipe to give, or loses what is written to it, costs a second at most."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, call, refuse)
    with Watching(lambda: iter(())):
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL or call == "write"
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_a_run_is_not_stopped_and_ends_in_the_same_bits(
    tmp_path: Path, usr1: None, capfd: pytest.CaptureFixture[str]
) -> None:
    train(config(tmp_path), tmp_path / "whole")
    with cllm.Trainer(config(tmp_path), tmp_path / "asked") as trainer:
        for report in trainer:
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_for(lambda: capfd.readouterr().err, f"cllm: step {report.step + 1} of 12")
    assert digest_of(tmp_path / "asked") == digest_of(tmp_path / "whole")


def test_the_command_line_tells_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, "train", "--data", "book.txt", *LONG, "--out", "run"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()  # training has begun
        for _ in range(3):
            process.send_signal(signal.SIGUSR1)
            line = ""
            while not line.startswith("cllm: step "):
                line = process.stderr.readline()
                assert line
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "go on with: cllm train --resume run" in errors
