"""The plugin: the communicator `mpi`, which stands in communicator.py.

Listing plugins imports this module and no MPI: that begins when a run names it, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import CommunicatorSpec, hookimpl


@hookimpl
def cllm_register_communicators() -> Iterator[CommunicatorSpec]:
    module = "cllm_mpi.communicator"
    summary = "processes that an MPI has started, on one machine or many: mpiexec -n 4 cllm train ..."
    yield CommunicatorSpec("mpi", summary, f"{module}:MpiCommunicator", f"{module}:MpiConfig")
