"""Golden digests: constants that no refactoring, instruction set, optimisation level or thread count may change.

A change that alters one raises NUMERICS_VERSION (numerics rule 11) and says why in CHANGELOG.md.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cllm import kernels
from cllm._kernels import cpu
from cllm.engine import Engine
from tests.models import CONFIGS, Tree, a_batch, a_model, digest

GRADIENTS = {
    "plain": "9c8beff40beeb5c109508f8a66e1e8dc",
    "dropout": "d45b2b851b8b655153aa09661f4a2629",
    "odd": "c8c8486fd61628c9a4e1db93eef70839",
}


def gradient_digest(name: str, n_threads: int) -> str:
    program, parameters = a_model(name)
    engine = Engine(program, 5, n_threads, seed=7)
    return digest(engine.gradient(parameters, a_batch(program, 5), Tree()).gradient)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4, 5, 7, 8, 16])
@pytest.mark.parametrize("name", CONFIGS)
def test_gradient(name: str, n_threads: int) -> None:
    assert gradient_digest(name, n_threads) == GRADIENTS[name]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gradient_takes_no_longer_than_a_build_without_optimisation_can_bear(name: str) -> None:
    """At most 0.1 GFLOP: the portable kernels at -O0 do about 1 GFLOP/s."""
    program, _ = a_model(name)
    assert 5 * program.block_size * program.flops_per_token(program.block_size) <= 1e8


@pytest.mark.parametrize("isa", cpu.instruction_sets())
def test_every_instruction_set(isa: str) -> None:
    """In a process of its own, because the choice is made at import."""
    code = "from tests.test_golden import *; print(kernels.ISA, *[gradient_digest(n, 2) for n in GRADIENTS])"
    environment = {**os.environ, "CLLM_ISA": isa}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [isa, *GRADIENTS.values()]


def test_the_numerics_version_is_the_one_that_the_digests_were_made_with() -> None:
    assert kernels.NUMERICS_VERSION == 1
