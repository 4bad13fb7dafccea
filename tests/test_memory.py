"""Memory is counted before it is taken: the counts are what a run takes, and what would be too much is never begun."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from time import process_time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cllm import memory
from cllm.assemble import open_run_data, outline
from cllm.bounded import check_memory
from cllm.cli import main
from cllm.data.batches import Batches
from cllm.data.tokenfile import TokenFile
from cllm.engine import Engine
from cllm.errors import MemoryLimitError
from cllm.hooks.manager import build_manager
from cllm.lockstep import rooms
from cllm.lowering import lower, sizes
from cllm.memory import FEW_LAYERS, by_layers, engine_memory, run_memory
from cllm.reduction import most_held, most_whole
from tests.models import CONFIGS, FoldInPython, Gather, Tree, a_batch, a_model, build, shape
from tests.runs import TEXT, config

# Runs a command and prints the bytes that were resident before it, when all is imported, and at the most.
MEASURED = """
import sys
import cllm.cli.train, cllm.generate, cllm.trainer

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

before = status("VmRSS")
code = cllm.cli.main(sys.argv[1:])
print(before, status("VmHWM"))
sys.exit(code)
"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text(TEXT)
    return path


def words(book: Path, *settings: str) -> list[str]:
    overrides = [word for setting in settings for word in ("--set", setting)]
    return ["train", "--data", str(book), "--out", str(book.parent / "run"), *overrides]


def dry_run(command: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main([*command, "--dry-run", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def measured(command: list[str]) -> tuple[int, int]:
    """Bytes resident before a command and at the most, in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc, where the peak of a process stands")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    before, most = done.stdout.splitlines()[-1].split()
    return int(before), int(most)


@pytest.mark.parametrize(
    "settings",
    [
        ("model.n_embd=320", "model.block_size=16", "train.batch_size=8"),
        ("model.n_embd=256", "model.block_size=16", "train.batch_size=8", "reducer.name=ordered", "optimizer.name=sgd"),
        ("model.n_embd=64", "model.n_layer=6", "model.block_size=256", "train.batch_size=64", "train.threads=4"),
        ("model.n_embd=8", "model.n_head=1", "model.n_layer=1", "train.batch_size=20000", "data.validation=0"),
    ],
    ids=("parameters", "gathered gradients", "activations", "batches"),
)
def test_a_run_takes_what_is_estimated(
    book: Path, settings: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = words(book, "train.threads=2", "train.steps=2", "train.eval_batches=2", *settings)
    estimate = sum(dry_run(command, capsys)["memory_bytes"].values())
    before, most = measured(command)
    assert estimate > 80e6 and 0.85 < estimate / (most - before) < 1.15, (estimate, most - before)


def test_a_dry_run_of_gpt2_takes_next_to_nothing(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = words(book, "model.preset=gpt2", "model.vocab_size=50257")
    facts = dry_run(command, capsys)
    assert facts["parameters"] == 124_439_808 and sum(facts["memory_bytes"].values()) > 2e9
    _, most = measured([*command, "--dry-run"])
    assert most < 150e6


@pytest.mark.parametrize(
    "settings",
    [
        ("train.batch_size=1000000000000",),
        ("train.batch_size=100000000000000000000000000",),
        ("train.batch_size=1000000000", "train.micro_batch_size=1"),
        ("model.n_embd=1000000",),
        ("model.n_embd=100000000000000000000000000",),
        ("model.n_layer=100000",),
        ("model.n_layer=1000000000000",),
        ("model.vocab_size=1000000000000000",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("dry", [True, False])
def test_impossible_sizes_are_refused_at_once(
    book: Path, settings: tuple[str, ...], dry: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*words(book, *settings), *(["--dry-run"] if dry else [])]
    begin = process_time()  # other processes may have the machine
    assert main(command) == 2
    assert process_time() - begin < 1.0
    error = capsys.readouterr().err
    assert error.startswith("cllm: memory: ") and " GB (" in error and error.count("\n") == 1
    tracemalloc.start()
    assert main(command) == 2
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10e6
    assert not (book.parent / "run").exists()


def test_what_is_refused_is_what_the_machine_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cllm.bounded.memory_limit", lambda: 10**10)
    check_memory({"parameters": 7 * 10**9, "batches": 10**9}, "they")
    parts = r"8\.0 GB \(parameters 8\.0 GB\); expected at most 80 % of the 10\.0 GB"
    with pytest.raises(MemoryLimitError, match=f"memory: they need about {parts}"):
        check_memory({"parameters": 7_960_000_000, "batches": 50_000_000}, "they")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_are_those_of_the_lowered_program(name: str, mode: Any) -> None:
    program = build(shape(**CONFIGS[name]), mode)
    assert sizes(program, 48, program.block_size) == lower(program, 48, program.block_size).sizes


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("reducer", [Tree(), FoldInPython(), Gather()], ids=lambda reducer: type(reducer).__name__)
def test_an_engine_takes_what_is_estimated(n_threads: int, reducer: Any) -> None:
    program, parameters = a_model("plain", n_embd=96, block_size=32)
    batch = a_batch(program, 7)
    expected = engine_memory(program, 7, n_threads, 1, reducer)
    Engine(program, 7, n_threads, micro_batch_size=1).gradient(parameters, batch, reducer)  # what is imported then
    tracemalloc.start()
    engine = Engine(program, 7, n_threads, micro_batch_size=1)
    engine.gradient(parameters, batch, reducer)
    # Arrays alone: an interpreter's table that happens to be enlarged meanwhile is no engine's.
    arrays = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
    tracemalloc.stop()
    taken = sum(trace.size for trace in arrays.traces)
    if isinstance(reducer, Tree):  # what of a gradient is no shared range may never be touched
        runs = [(team.first, team.last) for team in engine.teams]
        untouched = sum(most_held(*run) - most_whole(*run) for run in runs) * (program.n_trainable - rooms(program)[0])
        taken -= 4 * untouched
    a_row = 4 * program.n_trainable if isinstance(reducer, FoldInPython) else 0  # an upper bound there
    assert 0.98 * taken < sum(expected.values()) < 1.02 * taken + 2 * a_row


@pytest.mark.parametrize("block_size", [1, 64])
def test_making_a_batch_takes_what_is_estimated(tmp_path: Path, block_size: int) -> None:
    path, batch_size = tmp_path / "tokens.bin", 50_000 // block_size
    np.arange(100_000, dtype="<u4").astype("<u2").tofile(path)
    batches = Batches(TokenFile.open(path, 1 << 16), batch_size, block_size, seed=1)
    batches(0)  # places that are remembered
    tracemalloc.start()
    batch = batches(1)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(array.nbytes for array in (batch.inputs, batch.targets, batch.weights, batch.documents)) <= held
    n_tokens = batch_size * block_size
    expected = n_tokens * (memory.BATCH_TOKEN + memory.FILLING_TOKEN) + batch_size * memory.FILLING_SEQUENCE
    assert 0.9 * most < expected < 1.1 * most


@pytest.mark.parametrize("n_layer", [1, FEW_LAYERS, FEW_LAYERS + 1, 40])
def test_many_layers_are_reckoned_as_if_written_out(n_layer: int) -> None:
    def of_depth(n: int) -> dict[str, int]:
        programs = [build(shape(n_layer=n), mode) for mode in ("train", "evaluate")]
        return run_memory(*programs, SimpleNamespace(), Tree(), batch_size=8, n_threads=2)

    assert by_layers(of_depth, n_layer) == of_depth(n_layer)


def test_an_optimizer_that_does_not_say_is_reckoned_with_two_moments() -> None:
    program, _ = a_model("plain")
    for optimizer, n_bytes in (({}, 8), ({"bytes_per_parameter": 0}, 0), ({"bytes_per_parameter": 2.5}, 2.5)):
        found = run_memory(program, None, SimpleNamespace(**optimizer), Tree(), batch_size=8, n_threads=2)
        assert found["optimizer"] == n_bytes * program.n_trainable and found["evaluation"] == 0


def test_an_outline_allocates_nothing_and_a_reducer_of_ones_own_counts(tmp_path: Path) -> None:
    settings, plugins = config(tmp_path, "model.n_embd=1024", "train.micro_batch_size=1"), build_manager()
    data = open_run_data(settings, plugins, tmp_path / "cache")
    outline(settings, data, plugins)
    tracemalloc.start()
    folded, gathered = (outline(settings, data, plugins, reducer).memory for reducer in (None, Gather()))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2e6 and folded["parameters"] > 1e8
    assert gathered["gradients"] == 6 * folded["parameters"] and gathered["gradients"] > folded["gradients"]
