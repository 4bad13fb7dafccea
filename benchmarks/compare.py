"""Training steps by cllm and by its peers, side by side: `python -m benchmarks.compare --config S --threads 2`.

A step is forward, backward, reduction over shards, norm and finite check, clipping, AdamW. All sides start from the
same weights and must find the same losses; then they run in turn, A B C A B C, and medians are printed. Times are
shown, never asserted. Run it in an environment that has cllm and the peers; one that is not there is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import describe
from benchmarks.model import flops_of
from benchmarks.options import names
from benchmarks.pace import agree, check_steps, run_steps
from benchmarks.peers import BFLOAT16, PEERS
from benchmarks.process import Run
from benchmarks.results import Comparison, Side
from benchmarks.rounds import measure
from benchmarks.sides import CLLM, Entrant, Field
from benchmarks.tables import markdown, text
from benchmarks.task import TASKS
from cllm.profiling.peak import measure_peak


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    command = shlex.join(["python", "-m", "benchmarks.compare", *(sys.argv[1:] if arguments is None else arguments)])
    print(describe())
    found, wrong = [], False
    for config in options.config:
        comparison, differ = compare(config, options)
        print(f"{text(comparison)}\nload {os.getloadavg()[0]:.2f}\n", flush=True)
        found.append(comparison)
        wrong = wrong or differ
    if options.json:
        whole = {"command": command, "machine": describe(), "comparisons": [one.as_json() for one in found]}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    if options.markdown:
        print(markdown(found, command, describe()))
    return int(wrong)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Exits with 2, as argparse does, for what is no option."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--config", type=names(TASKS), default=("S",), help=f"one or several, with commas between: {', '.join(TASKS)}"
    )
    parser.add_argument(
        "--peers", type=names(PEERS, none=True), default=("eager",), help=f"the same, of {', '.join(PEERS)}; or none"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of cllm's products")
    parser.add_argument("--runs", type=int, default=7, help="of each side, at least 5")
    parser.add_argument("--seconds", type=float, default=2.0, help="about as long as one run lasts")
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused AdamW, which nanoGPT leaves to GPUs")
    parser.add_argument(
        "--mkl-as-intel", action="store_true",
        help="tell MKL that this is an Intel processor, by a preloaded function, for all of PyTorch's sides and not "
        "the peer mkl alone (needs a C compiler)",
    )
    parser.add_argument("--llmc", type=Path, metavar="DIR", help="a copy of llm.c, for the peer llmc")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to it")
    parser.add_argument("--markdown", action="store_true", help="print tables for a page at the end")
    options = parser.parse_args(arguments)
    if options.runs < 5 or options.threads < 1 or not options.seconds > 0.0:
        parser.error("at least 5 runs, 1 thread and more than 0 seconds")
    return options


def compare(config: str, options: argparse.Namespace) -> tuple[Comparison, bool]:
    """What was found, and whether a side computes something else than cllm."""
    task, n_threads = replace(TASKS[config], dtype=options.dtype), options.threads
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        field = Field(folder, task, n_threads, stack, options.fused, options.mkl_as_intel, options.llmc)
        before = measure_peak(n_threads).flops
        for peer in (CLLM, *(PEERS[name] for name in options.peers)):
            field.enter(peer)
            print(f"{config}, {peer.name}: {field.left_out.get(peer.name, 'started')}", flush=True)
        if CLLM.name in field.left_out:
            raise SystemExit(f"cllm did not start: {field.left_out[CLLM.name]}")
        differ = check(field)
        for entrant in field.entrants:
            entrant.go_on(run_steps(entrant.pace, options.seconds / 4))  # to be warm, and to know its pace
        running = [(entrant.worker, run_steps(entrant.pace, options.seconds)) for entrant in field.entrants]
        rounds = measure(running, options.runs)
        sides = tuple(
            side_of(entrant, n_steps, [runs[index] for runs in rounds.runs])
            for index, (entrant, (_, n_steps)) in enumerate(zip(field.entrants, running, strict=True))
        )
        peaks = before, measure_peak(n_threads).flops
    return Comparison(
        config, task, n_threads, sides, rounds.disturbed, rounds.quiet, peaks, flops_of(task), field.left_out,
    ), differ


def check(field: Field) -> bool:
    """Print every side's losses, and leave out those that are not cllm's; returns whether there are any."""
    n_steps = check_steps(max(entrant.pace for entrant in field.entrants))
    for entrant in field.entrants:
        entrant.losses += entrant.go_on(n_steps - len(entrant.losses))
    ours = field.entrants[0].losses
    wrong = [entrant for entrant in field.entrants[1:] if not is_right(entrant, field, ours)]
    for entrant in wrong:
        field.left_out[entrant.peer.name] = "does not compute the same"
        field.entrants.remove(entrant)
    return bool(wrong)


def is_right(entrant: Entrant, field: Field, ours: list[float]) -> bool:
    """Whether a side's losses are those that cllm finds with the same model."""
    peer, theirs = entrant.peer, entrant.losses
    expected = ours if peer.variant(field.task) == field.task else field.reference(peer, len(ours))
    tolerance = peer.tolerance if field.task.dtype == "float32" else BFLOAT16
    right, first, later = agree(expected, theirs, tolerance), *tolerance
    print(
        f"{peer.name}: loss at the given weights {theirs[0]:.7f}, cllm's {expected[0]:.7f} (within {first:g}); "
        f"at step {len(ours)} {theirs[-1]:.7f}, cllm's {expected[-1]:.7f} (within {later:g})"
        f"{'' if right else ': NOT THE SAME'}", flush=True,
    )
    return right


def side_of(entrant: Entrant, n_steps: int, runs: Sequence[Run]) -> Side:
    return Side(
        entrant.peer.name, entrant.worker.description, entrant.peer.note, tuple(entrant.losses), n_steps,
        tuple(run.seconds / n_steps for run in runs), tuple(run.busy / n_steps for run in runs),
        entrant.worker.start_seconds, entrant.worker.memory, entrant.installed,
    )


if __name__ == "__main__":
    sys.exit(main())
