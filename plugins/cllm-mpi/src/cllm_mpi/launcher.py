"""How MPI begins: mpi4py finds the library, and a launcher has said how many processes there are."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType

from cllm.errors import PluginError
from cllm.floats import standard_floats

# Of MPICH and its kin, of Open MPI. Slurm's is left out: a job of many tasks may well run a process that is alone.
COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")


def begin() -> ModuleType:
    """mpi4py's MPI, which is initialised now and finalised when Python ends. Raises PluginError where there is none.

    Threads of cllm never call it: thread level "funneled". Modes of floating-point arithmetic that a library sets
    while it is loaded are put back.
    """
    try:
        importlib.import_module("mpi4py").rc.thread_level = "funneled"
        with standard_floats():
            return importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:
        raise PluginError(
            "communicator mpi", f"no MPI: {error}", "one that mpi4py can load",
            "load the cluster's, as by `module load mpi`, or `pip install mpich`",
        ) from error


def n_started(environment: Mapping[str, str]) -> int:
    """How many processes the launcher says that it has started; 1 where nobody says."""
    said = [environment.get(name, "") for name in COUNTS]
    return max([int(text) for text in said if text.isascii() and text.isdecimal()], default=1)
