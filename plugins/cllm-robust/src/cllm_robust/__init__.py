"""The plugin: what a config can name. The reducers themselves stand in reducers.py, their arithmetic in estimate.py.

Listing plugins imports this module and no NumPy: the references are followed when a config names one.
"""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import ReducerSpec, hookimpl

cllm_api = ">=1,<2"  # the versions of cllm's hooks for which this is written


@hookimpl
def cllm_register_reducers() -> Iterator[ReducerSpec]:
    reducers = "cllm_robust.reducers"
    yield ReducerSpec("robust.median", "the coordinate-wise median of the shards' gradients", f"{reducers}:Median")
    summary = "the coordinate-wise mean of the shards' gradients without the smallest and largest"
    yield ReducerSpec(
        "robust.trimmed_mean", summary, f"{reducers}:TrimmedMean", f"{reducers}:TrimmedMeanConfig"
    )
