"""Trainers that people would pick instead of cllm: how each is started, and how near its losses must come."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers import llmc
from benchmarks.task import Task

# Largest relative difference of the first loss, which is the model's at the given weights, and of later ones, which
# show that clipping and AdamW are the same too.
FLOAT32 = (1e-6, 1e-4)
BFLOAT16 = (1e-3, 2e-2)  # 8 bits of a product's factors
FAST_MATH = (1e-5, 1e-3)  # the loss is a sum in float32, term by term


def same(task: Task) -> Task:
    return task


@dataclass(frozen=True)
class Peer:
    """One side beside cllm. `kind` says whose process it is, `distribution` what pip installs for it."""

    name: str
    kind: str
    options: tuple[str, ...] = ()  # of benchmarks.worker
    tolerance: tuple[float, float] = FLOAT32
    mkl_as_intel: bool = False
    variant: Callable[[Task], Task] = same  # the model that it can train, which cllm trains too to check it
    note: str = ""

    def missing(self, llmc_folder: Path | None) -> str | None:
        """Why it cannot run here, or None."""
        if self.kind == "llmc":
            if llmc_folder is None:
                return "needs --llmc, the folder of a copy"
            return None if (llmc_folder / "train_gpt2.c").is_file() else f"no train_gpt2.c in {llmc_folder}"
        if find_spec(self.kind) is None:
            return f"{self.kind} is not installed"
        if "--compile" in self.options and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            return "needs a C++ compiler"
        return None


PEERS = {
    peer.name: peer
    for peer in (
        Peer("eager", "torch"),
        Peer("compile", "torch", ("--compile",)),
        Peer("bf16", "torch", ("--bf16",), BFLOAT16),
        Peer("compile-bf16", "torch", ("--compile", "--bf16"), BFLOAT16),
        Peer("mkl", "torch", mkl_as_intel=True, note="MKL told that this is an Intel processor"),
        Peer("jax", "jax"),
        Peer(
            "llmc", "llmc", tolerance=FAST_MATH, variant=llmc.variant,
            note="with biases and gelu by tanh, without clipping",
        ),
    )
}
