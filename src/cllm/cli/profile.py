"""Show where the time of a training step goes: every op beside its FLOPs, its bytes and this machine's roofline."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cllm.assemble import assemble, open_run_data
from cllm.cli.gathering import gathered
from cllm.cli.options import (
    add_json,
    add_overrides,
    add_plugin_options,
    add_threads,
    overrides_of,
    print_json,
    whole,
)
from cllm.config import load_config
from cllm.errors import count
from cllm.profiling.peak import Peak, measure_peak
from cllm.profiling.profile import Profile, profile
from cllm.profiling.trace import write_trace
from cllm.runfolder import RunFolder

EXAMPLE = """\
examples:
  cllm profile configs/shakespeare.toml
  cllm profile runs/squad-1 --steps 10 --threads 1 --trace trace.json    (open it in https://ui.perfetto.dev)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="RUN|CONFIG", help="a run folder, or a config file in TOML")
    parser.add_argument("--steps", type=whole(1), default=5, metavar="N",
                        help="steps to record, after two to warm up (default: 5)")
    add_threads(parser)
    add_overrides(parser)
    parser.add_argument("--by-op", action="store_true", help="every op of every layer on a line of its own")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="also write a trace for Perfetto or Chrome")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    path = RunFolder.open(options.path, "profile").config_path if options.path.is_dir() else options.path
    config = load_config(path, overrides_of(options))
    plugins = gathered(options, config)
    with TemporaryDirectory() as cache:
        parts = assemble(config, open_run_data(config, plugins, Path(cache)), plugins)
        peak = measure_peak(parts.n_threads)
        seen = profile(parts, options.steps)
    if options.trace is not None:
        write_trace(options.trace, seen)
    if options.json:
        print_json(facts(seen, peak, options.by_op))
    else:
        show(seen, peak, options.by_op)
    return 0


def facts(seen: Profile, peak: Peak, by_op: bool) -> dict[str, Any]:
    """The profile as plain numbers, sums over threads a step."""
    n = seen.n_steps
    return {
        "threads": seen.n_threads, "steps": n, "seconds_per_step": seen.seconds / n,
        "tokens_per_second": seen.tokens_per_step * n / seen.seconds,
        "peak_flops": peak.flops, "peak_bandwidth": peak.bandwidth, "flops_utilisation": utilisation(seen, peak),
        "waiting_seconds": seen.waiting() / n,
        "ops": [
            {
                "name": line.name, "direction": line.direction, "calls": line.calls / n, "seconds": line.seconds / n,
                "flops": line.flops / n, "bytes": line.n_bytes / n, "roof_share": line.roof_share(peak),
            }
            for line in seen.lines(by_op)
        ],
    }


def utilisation(seen: Profile, peak: Peak) -> float:
    """Model FLOPs utilisation: operations of the model over what the cores could have done meanwhile."""
    per_token = seen.program.flops_per_token(seen.program.block_size)
    return per_token * seen.tokens_per_step * seen.n_steps / (seen.seconds * peak.flops)


def show(seen: Profile, peak: Peak, by_op: bool) -> None:
    n, lines = seen.n_steps, seen.lines(by_op)
    waiting, of_all_threads = seen.waiting(), seen.seconds * seen.n_threads
    width = max(len(line.name) for line in lines)
    print(f"{'op':{width}}           calls        ms      %  GFLOP/s    GB/s  of roof")
    for line in lines:
        print(
            f"{line.name:{width}}  {line.direction:8}  {line.calls / n:5.0f}  {1e3 * line.seconds / n:8.3f}  "
            f"{100 * line.seconds / of_all_threads:5.1f}  {_rate(line.flops, line.seconds):>7}  "
            f"{_rate(line.n_bytes, line.seconds):>6}  {_share(line.roof_share(peak)):>7}"
        )
    print(f"{'waiting':{width}}                   {1e3 * waiting / n:8.3f}  {100 * waiting / of_all_threads:5.1f}")
    print(
        f"a step: {1e3 * seen.seconds / n:.3f} ms on {count(seen.n_threads, 'thread')}, "
        f"{seen.tokens_per_step * n / seen.seconds:,.0f} tokens/s; times of all threads are added up"
    )
    print(
        f"this machine: {peak.flops / 1e9:.0f} GFLOP/s, {peak.bandwidth / 1e9:.1f} GB/s, measured on as many threads; "
        f"the model's FLOPs use {100 * utilisation(seen, peak):.0f} %"
    )


def _rate(amount: float, seconds: float) -> str:
    return f"{amount / seconds / 1e9:.1f}" if amount and seconds else ""


def _share(share: float) -> str:
    return f"{100 * share:.0f} %" if share else ""
