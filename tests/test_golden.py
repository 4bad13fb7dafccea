"""Golden digests: constants that no refactoring, instruction set, optimisation level or thread count may change.

A change that alters one raises NUMERICS_VERSION (numerics rule 11) and says why in CHANGELOG.md. The environments
`isa` and `O0` of tox.ini run this file on every instruction set and in a build without optimisation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cllm import kernels
from cllm._kernels import cpu
from cllm.engine import Engine
from tests.evidence import record
from tests.models import CONFIGS, Tree, a_batch, a_model, digest
from tests.runs import config, digest_of, finish, leave_half_way, train

THREADS = (1, 2, 3, 4, 5, 7, 8, 16)

GRADIENTS = {
    "plain": "9c8beff40beeb5c109508f8a66e1e8dc",
    "dropout": "d45b2b851b8b655153aa09661f4a2629",
    "bf16": "3719cc7259b64612c0c8841d49ef8846",
    "odd": "c8c8486fd61628c9a4e1db93eef70839",
    "capped": "c67c4273d235ebbfd4255313bb80d28f",
    "llama": "48eddb621dc2f1c6f1ad30bd87fe7971",
    "llama_bf16": "6a2ecdf36d88a456c143401b25e8f405",
}

RUNS = {
    "bf16": "1f297df88b341b67d5cceeeeae2aafcb66650f3dd00df37aa3c0edbc952fb488",
    "plain": "159de49a5773185361f2b14e1db6b84457ee18dd5eb14d503dec6305f97b90bf",
    "dropout": "7d2ffdccdd15e2908d7ed2a5bc78c0c639cc7d0d0847d31a5a7ece2f79dbf9fc",
    "llama": "ae3b6ac57be515a844e42be62c8722095f6a31f4215acdad7179e95fb68ed309",
}
OVERRIDES = {
    "plain": "train.seed=1", "dropout": "model.dropout=0.1", "bf16": "model.dtype=bfloat16",
    "llama": "model.family=llama",
}
COURSES = ("whole", "resumed")
N_STEPS = {"whole": 12, "resumed": 14}  # of a run; the resumed one makes two of them again


@pytest.fixture(scope="module", autouse=True)
def held() -> Iterator[list[tuple[str, int]]]:
    """The digests that were found as they stand here, each with the steps that led to it: for the table."""
    found: list[tuple[str, int]] = []
    yield found
    steps, digests = sum(steps for _, steps in found), len({digest for digest, _ in found})
    record("bits", steps=steps, configurations=len(found), digests=digests)


def gradient_digest(name: str, n_threads: int, threads_per_shard: int | None = None) -> str:
    program, parameters = a_model(name)
    engine = Engine(program, 5, n_threads, seed=7, threads_per_shard=threads_per_shard)
    return digest(engine.gradient(parameters, a_batch(program, 5), Tree()).gradient)


def run_digest(name: str, course: str, n_threads: int, folder: Path) -> str:
    """Of twelve steps with validation and checkpoints; a resumed run began with another number of threads."""

    def settings(n_threads: int) -> object:
        return config(folder, OVERRIDES[name], f"train.threads={n_threads}")

    if course == "whole":
        train(settings(n_threads), folder / "run")
    else:
        leave_half_way(settings(THREADS[THREADS.index(n_threads) - 3]), folder / "run")
        finish(settings(n_threads), folder / "run")
    return digest_of(folder / "run")


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("name", CONFIGS)
def test_gradient(name: str, n_threads: int, held: list[tuple[str, int]]) -> None:
    assert gradient_digest(name, n_threads) == GRADIENTS[name]
    held.append((name, 1))


@pytest.mark.parametrize("n_threads", (2, 3, 8))
@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_of_a_team(name: str, n_threads: int, held: list[tuple[str, int]]) -> None:
    """All threads share one shard after the other."""
    assert gradient_digest(name, n_threads, threads_per_shard=n_threads) == GRADIENTS[name]
    held.append((name, 1))


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("name", RUNS)
def test_run(name: str, course: str, n_threads: int, tmp_path: Path, held: list[tuple[str, int]]) -> None:
    assert run_digest(name, course, n_threads, tmp_path) == RUNS[name]
    held.append((f"run {name}", N_STEPS[course]))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gradient_takes_no_longer_than_a_build_without_optimisation_can_bear(name: str) -> None:
    """At most 0.1 GFLOP: the portable kernels at -O0 do about 1 GFLOP/s. A run takes 0.07."""
    program, _ = a_model(name)
    assert 5 * program.block_size * program.flops_per_token(program.block_size) <= 1e8


CHILD = """
import sys
from pathlib import Path
from tests.test_golden import *
print(kernels.ISA)
print(*[gradient_digest(name, 2) for name in GRADIENTS])
print(*[run_digest(name, "resumed", 2, Path(folder)) for name, folder in zip(RUNS, sys.argv[1:])])
"""


@pytest.mark.parametrize("isa", [name for name in cpu.instruction_sets() if kernels._is_built(name)])
def test_every_instruction_set(isa: str, tmp_path: Path, held: list[tuple[str, int]]) -> None:
    """In a process of its own, because the choice is made at import."""
    folders = [tmp_path / name for name in RUNS]
    for folder in folders:
        folder.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, folders)], env={**os.environ, "CLLM_ISA": isa},
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True,
    )
    assert run.stdout.split() == [isa, *GRADIENTS.values(), *RUNS.values()]
    held += [(name, 1) for name in GRADIENTS] + [(f"run {name}", N_STEPS["resumed"]) for name in RUNS]


def test_the_numerics_version_is_the_one_that_the_digests_were_made_with() -> None:
    assert kernels.NUMERICS_VERSION == 1
