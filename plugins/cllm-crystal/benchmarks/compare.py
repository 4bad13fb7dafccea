"""Loss curves with the default beginning and with lattices, with the default reducer and with this one, side by side.

    python benchmarks/compare.py tinyshakespeare.txt

trains every arm with the same seeds, one after the other, prints the README's tables (tables.py) and writes what it
measured, curves.json, and its picture, curves.svg (curves.py), beside this file; `--from curves.json` prints and draws
that again. All arms read the same batches, and begin with the same values but for the tables that they are about: arms
are compared seed by seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cllm
from curves import chart
from tables import finals, progress

HERE = Path(__file__).resolve().parent
LATTICE = "initializer.name=crystal.lattice"
ARMS: dict[str, tuple[str, ...]] = {
    "family": (),
    "phyllotaxis": (LATTICE,),
    "phyllotaxis, one winding": (LATTICE, "initializer.harmonics=1"),
    "primes": (LATTICE, "initializer.tokens=primes"),
    "positions": (LATTICE, "initializer.tokens=family", "initializer.positions=phyllotaxis"),
    "kissing": ("reducer.name=crystal.kissing",),
}
# nanoGPT's run on a CPU, shorter; a sequence a shard makes 16 shards, so that twelve around one have a second level.
SETTINGS = (
    "data.tokenizer=char", "data.sampling=random",
    "model.n_layer=4", "model.n_head=4", "model.n_embd=128", "model.block_size=64", "model.bias=false",
    "train.batch_size=16", "train.micro_batch_size=1", "train.eval_batches=40",
    "optimizer.learning_rate=1e-3", "optimizer.betas=[0.9, 0.99]", "optimizer.weight_decay=0.1",
    "schedule.warmup_steps=50", "schedule.minimum_ratio=0.1", "checkpoint.every=0",
    "sinks.console=false", "sinks.jsonl=false",
)

Curve = list[float]  # validation losses, an evaluation after the other
Found = dict[str, dict[str, Curve]]  # arm -> seed -> curve


def train(overrides: Sequence[str]) -> Curve:
    """The validation losses of one run."""
    config = cllm.load_config(None, list(overrides))
    with tempfile.TemporaryDirectory() as folder, cllm.Trainer(config, Path(folder, "run")) as trainer:
        return [report.validation_loss for report in trainer if report.validation_loss is not None]


def measure(text: Path, n_steps: int, every: int, n_seeds: int, n_threads: int) -> Found:
    """Train every arm with seeds 1 to n_seeds; the arms take turns, so that a disturbance meets all of them."""
    found: Found = {name: {} for name in ARMS}
    settings = (*SETTINGS, f"data.path={json.dumps(str(text.resolve()))}", f"train.threads={n_threads}")
    for seed in range(1, n_seeds + 1):
        for name, overrides in ARMS.items():
            run = (*settings, *overrides, f"train.seed={seed}", f"train.steps={n_steps}", f"train.eval_every={every}")
            found[name][str(seed)] = train(run)
            print(f"seed {seed}  {name:26} {found[name][str(seed)][-1]:.4f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, nargs="?", help="a text in UTF-8")
    parser.add_argument("--from", dest="curves", type=Path, help="curves.json of an earlier comparison, instead")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--every", type=int, default=50, help="steps between evaluations")
    parser.add_argument("--seeds", type=int, default=5, help="two or more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE, help="the folder of curves.json and curves.svg")
    asked = parser.parse_args()
    if (asked.text is None) == (asked.curves is None) or asked.seeds < 2:
        parser.error("a text or --from, and two seeds or more")
    if asked.curves is not None:
        result: dict[str, Any] = json.loads(asked.curves.read_text())
    else:
        found = measure(asked.text, asked.steps, asked.every, asked.seeds, asked.threads)
        result = {"every": asked.every, "steps": asked.steps, "cllm": cllm.__version__, "losses": found}
        (asked.out / "curves.json").write_text(json.dumps(result, indent=1) + "\n")
    print(finals(result["losses"]), progress(result["losses"], result["every"]), sep="\n")
    (asked.out / "curves.svg").write_text(chart(result["losses"], result["every"]))


if __name__ == "__main__":
    main()
