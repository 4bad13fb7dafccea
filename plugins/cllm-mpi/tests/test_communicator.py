"""The communicator by itself, on several ranks; and what is said where MPI is missing or is another's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cllm.errors import PluginError
from cllm.hooks.manager import build_manager
from launching import PATIENCE, command

from cllm_mpi.launcher import begin, n_started

PROGRAM = """
from cllm.testing import check_communicator
from cllm_mpi.communicator import FRAME, MpiCommunicator, MpiConfig

own = MpiCommunicator(MpiConfig())
rank, size = own.rank, own.size
check_communicator(own)
for longest in (FRAME - 9, FRAME - 8, FRAME - 7):  # about what goes in one message
    assert own.tell(b"y" * (longest - rank)) == [b"y" * (longest - other) for other in range(size)]
open(f"good{rank}", "x")
own.tell(b"")
if rank == size - 1:
    own.abort("rank %d: enough" % rank)
own.tell(b"never heard by all")
"""


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_what_is_moved(n_ranks: int, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    called = [*command(n_ranks)[:-2], "program.py"]
    done = subprocess.run(called, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert len(list(tmp_path.glob("good*"))) == n_ranks, done.stderr
    assert done.returncode != 0
    assert done.stderr.count(f"cllm: rank {n_ranks - 1}: enough; all ranks end") == 1


def test_how_many_the_launcher_has_started() -> None:
    assert n_started({}) == 1
    assert n_started({"PMI_SIZE": "4"}) == 4
    assert n_started({"OMPI_COMM_WORLD_SIZE": "3", "PMI_SIZE": "x"}) == 3


def test_a_launcher_of_another_mpi_is_refused() -> None:
    program = "from cllm_mpi.communicator import *; MpiCommunicator(MpiConfig())"
    called = [command(1)[3], "-c", program]
    done = subprocess.run(
        called, env={**os.environ, "OMPI_COMM_WORLD_SIZE": "4"}, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "a launcher that has started 4 processes, each a world of 1" in done.stderr


def test_without_an_mpi_it_says_where_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mpi4py", None)
    with pytest.raises(PluginError, match="pip install mpich"):
        begin()


def test_it_is_listed() -> None:
    rows = {row.name: row for row in build_manager().list()}
    assert (rows["mpi"].distribution, rows["mpi"].provides) == ("cllm-mpi", ("communicator mpi",))
