"""For the tests of plugins: what cllm asks of each kind of part, as functions to call.

    from cllm.testing import check_reducer

    def test_it_is_a_reducer():
        check_reducer(Median())

Each raises AssertionError that says what is not kept, and where. `pytest_plugins = ["cllm.testing.fixtures"]` brings
fixtures. cllm holds its own parts to the same.
"""

from __future__ import annotations

from cllm.testing.checks import check_stability_check
from cllm.testing.communicators import check_communicator
from cllm.testing.datasets import check_dataset
from cllm.testing.imports import check_import_budget
from cllm.testing.moments import Moment, calm
from cllm.testing.opcase import BATCH, Case, draw, run_reference
from cllm.testing.opkernel import Kernels, run_kernel
from cllm.testing.ops import check_op
from cllm.testing.reducers import check_reducer

__all__ = [
    "BATCH", "Case", "Kernels", "Moment", "calm", "check_communicator", "check_dataset", "check_import_budget",
    "check_op", "check_reducer", "check_stability_check", "draw", "run_kernel", "run_reference",
]
