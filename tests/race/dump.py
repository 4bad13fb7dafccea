"""Writes what an engine's step works on into a file for driver.c: its memory, in pieces with their addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cllm import kernels
from cllm.engine import Engine
from cllm.kernels import at
from cllm.program import Program
from tests.models import Tree

SCENE = (
    "ops", "n_ops", "packings", "n_packings", "workers", "n_workers", "ranges", "lockstep", "parameters",
    "n_parameters", "packed", "tokens", "targets", "weights", "losses", "sequence", "shard_loss", "shard_weight",
    "n_shards", "time", "batch", "seed", "renumbered", "rows", "n_rows", "named", "named_step", "pairs", "n_pairs",
    "total", "matrices", "n_matrices", "sums", "expected",
)
EMPTY, FULL, ADDRESSES = range(3)  # what a piece holds


def dump(
    path: Path, engine: Engine, program: Program, parameters: np.ndarray, batch: Any, expected: np.ndarray
) -> None:
    """expected (P,): the gradient, with the bits that it must have. The engine folds; it makes a step first."""
    engine.gradient(parameters, batch, Tree())
    lowered, workers, memory = engine.lowered, engine._workers, engine._gradients
    named = getattr(memory, "_named", None)
    full = {
        "ops": lowered.ops, "packings": lowered.packings, "workers": workers.records, "ranges": lowered.ranges,
        "parameters": parameters, "tokens": batch.inputs, "targets": batch.targets, "weights": batch.weights,
        "sequence": engine.boundaries, "pairs": memory.pairs, "expected": expected,
        "matrices": engine.norms._matrices,
        "renumbered": named.renumbered if named else None, "rows": named.rows if named else None,
    }
    empty = {
        "packed": engine._packed, "losses": engine._losses, "shard_loss": engine._shard_loss,
        "shard_weight": engine._shard_weight, "total": memory.folded[0], "named": named.memory if named else None,
        "sums": engine.norms._sums,
    }
    numbers = {
        "n_ops": len(lowered.ops), "n_packings": len(lowered.packings), "n_workers": engine.n_threads,
        "lockstep": int(engine.lockstep), "n_parameters": program.n_trainable, "n_shards": engine.n_shards,
        "time": program.block_size, "batch": batch.index, "seed": engine.seed, "n_pairs": len(memory.pairs),
        "n_matrices": len(engine.norms._matrices),
        "n_rows": len(named.rows) if named else 0, "named_step": named.shard_size if named else 0,
    }
    arrays = {name: array for name, array in {**full, **empty}.items() if array is not None and array.size}
    places = {name: at(array) for name, array in arrays.items()}
    others = [*workers.arenas, *workers._scratch, *memory._rows, *memory._levels]
    pieces = [
        *((array, ADDRESSES if name == "pairs" else FULL if name in full else EMPTY) for name, array in arrays.items()),
        *((table, ADDRESSES) for table in workers._tables),
        *((array, EMPTY) for array in others if array is not memory.folded[0] and array.size),
    ]
    with path.open("wb") as file:
        np.array([numbers.get(name, places.get(name, 0)) for name in SCENE], dtype=np.int64).tofile(file)
        np.array([len(pieces)], dtype=np.int64).tofile(file)
        for array, kind in pieces:
            np.array([at(array), array.nbytes, kind], dtype=np.int64).tofile(file)
            if kind != EMPTY:
                array.tofile(file)
        for name in kernel_names(lowered.ops):
            file.write(name.encode().ljust(64, b"\0"))


def kernel_names(ops: np.ndarray) -> list[str]:
    """Of each op the forward's and the backward's; empty for none."""
    names = {address: name for name, address in kernels.op_kernels().items()}
    return [names[int(op[way])] if op[way] else "" for op in ops for way in ("forward", "backward")]
