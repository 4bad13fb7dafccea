"""Measure training over thread counts: tokens/s, use of the processor, speed-up, efficiency and memory."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from cllm.cli.options import add_json, add_overrides, print_json, real, whole
from cllm.config import Config, load_config
from cllm.config.rules import DTYPES
from cllm.env import MOST_THREADS
from cllm.profiling.bench import Measured, bench, thread_counts
from cllm.profiling.chart import write_chart

EXAMPLE = """\
examples:
  cllm bench
  cllm bench configs/shakespeare.toml --threads 1 2 --chart scaling.svg
  cllm bench --preset small --dtype float32 bfloat16 --json"""

BATCH_SIZES = {"tiny": 12, "mini": 16, "small": 16, "medium": 8, "gpt2": 4}
PREDICTED = (4, 8)  # threads: of interest also where there are fewer cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configs", nargs="*", type=Path, metavar="CONFIG", help="config files in TOML")
    parser.add_argument("--preset", action="append", choices=BATCH_SIZES, metavar="NAME", dest="presets",
                        help="a model of this size on random tokens (without configs: tiny and small)")
    parser.add_argument("--threads", type=whole(1, MOST_THREADS), nargs="+", metavar="N",
                        help="default: 1 2 4 8, as far as cores go")
    parser.add_argument("--dtype", choices=DTYPES, nargs="+", metavar="DTYPE", dest="dtypes",
                        help=f"of the products, one or several of {', '.join(DTYPES)} (default: the config's)")
    parser.add_argument("--rounds", type=whole(1), default=5, metavar="N",
                        help="of each thread count, in turn (default: 5)")
    parser.add_argument("--seconds", type=real(lambda x: x > 0.0, "a number above 0"), default=1.0,
                        help="about as long as a round lasts (default: 1)")
    add_overrides(parser, "every config")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="also draw the scaling, as SVG")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    counts = thread_counts(options.threads)
    rows: list[Measured] = []
    with TemporaryDirectory() as folder:
        for config in configs_of(options, Path(folder)):
            beyond = [n for n in PREDICTED if n not in counts]
            rows += bench(config, counts, beyond, options.rounds, options.seconds)
    if options.chart is not None:
        write_chart(options.chart, rows)
    if options.json:
        print_json([facts(row) for row in rows])
    else:
        show(rows)
    return 0


def configs_of(options: argparse.Namespace, folder: Path) -> list[Config]:
    """Those that are named, and presets on random bytes."""
    presets = options.presets or ([] if options.configs else ["tiny", "small"])
    tokens = folder / "random.bin"
    if presets:
        # nanoGPT's form, two bytes a token; which tokens they are makes no step slower.
        tokens.write_bytes(bytes(b for i in range(1 << 17) for b in ((i * 2654435761 >> 16) & 255, 0)))
    configs = [load_config(path, options.overrides) for path in options.configs] + [
        load_config(None, options.overrides, {
            "name": preset, "model": {"preset": preset}, "data": {"path": str(tokens)},
            "train": {"batch_size": BATCH_SIZES[preset]},
        })
        for preset in presets
    ]
    if options.dtypes is None:
        return configs
    return [in_dtype(config, dtype) for config in configs for dtype in dict.fromkeys(options.dtypes)]


def in_dtype(config: Config, dtype: str) -> Config:
    """The config with products in this dtype, and a name that says so."""
    model = msgspec.structs.replace(config.model, dtype=dtype)
    return msgspec.structs.replace(config, name=f"{config.name} {dtype}", model=model)


def facts(row: Measured) -> dict[str, Any]:
    return {
        "config": row.name, "threads": row.n_threads, "predicted": row.predicted,
        "tokens_per_second": row.tokens_per_second, "flops_utilisation": row.flops_utilisation,
        "speedup": row.speedup, "foreseen_speedup": row.foreseen, "efficiency": row.efficiency,
        "memory_bytes": row.memory,
        "seconds_per_step": list(row.seconds),
    }


def show(rows: list[Measured]) -> None:
    wide = max(12, *(len(row.name) for row in rows))
    print(f"{'config':{wide}}  threads   tokens/s   MFU  speed-up  foreseen  efficiency  memory")
    for row in rows:
        share = f"{100 * row.flops_utilisation:3.0f} %" if row.flops_utilisation is not None else "     "
        memory = f"{row.memory / 1e6:,.0f} MB" if row.memory is not None else "predicted"
        print(f"{row.name:{wide}}  {row.n_threads:7}  {row.tokens_per_second:9,.0f}  {share}  {row.speedup:8.2f}  "
              f"{row.foreseen:8.2f}  {row.efficiency:10.2f}  {memory}")
