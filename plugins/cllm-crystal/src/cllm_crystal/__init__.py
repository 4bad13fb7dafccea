"""The plugin: what a config can name. The sum stands in reducers.py, the tables in lattice.py, the rest in metrics.py.

Listing plugins imports this module and no NumPy: the references are followed when a config names one.
"""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import InitializerSpec, MetricSpec, ReducerSpec, hookimpl


@hookimpl
def cllm_register_reducers() -> Iterator[ReducerSpec]:
    summary = "the sum, along a tree of twelve around one"
    yield ReducerSpec("crystal.kissing", summary, "cllm_crystal.reducers:Kissing")


@hookimpl
def cllm_register_initializers() -> Iterator[InitializerSpec]:
    summary = "tables of tokens and positions as lattices: a sunflower's spiral, or prime factors"
    module = "cllm_crystal.initializers"
    yield InitializerSpec("crystal.lattice", summary, f"{module}:Lattice", f"{module}:LatticeConfig")


@hookimpl
def cllm_register_metrics() -> Iterator[MetricSpec]:
    metrics = "cllm_crystal.metrics"
    yield MetricSpec("crystal.gcd", "how alike the ids of neighbouring tokens are, by their divisors", f"{metrics}:Gcd")
    yield MetricSpec("crystal.ulam", "how near they are to each other on Ulam's spiral", f"{metrics}:Ulam")
