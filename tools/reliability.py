"""Writes the table of docs/explanation/reliability.md from what the suites have counted (tests/evidence.py).

    python -m tools.reliability evidence.json     takes the numbers over into docs/explanation/reliability.json, and
                                                  writes the table
    python -m tools.reliability                   writes the table from there
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/explanation/reliability.md"
NUMBERS = ROOT / "docs/explanation/reliability.json"
BEGIN, END = "<!-- table -->\n", "<!-- end of the table -->\n"

# Row -> (what stands in the first column, the sentence that its numbers fill, the command that counts them).
ROWS: dict[str, tuple[str, str, str]] = {
    "bits": (
        "Gradients and runs held to the bit, on 1 to 16 threads, in teams, resumed, on every instruction set",
        "{steps:,} steps in {configurations} configurations: {digests} digests, one for each model and its data",
        "pytest tests/test_golden.py",
    ),
    "faults": (
        "NaNs and infinities, after every op and in every direction",
        "{injected} injected, {stopped} stopped before the update, {located} found where they were made",
        "tox -e checked",
    ),
    "orders": (
        "Orders in which threads and shards came, and the digests they had",
        "{orders:,} orders of {ways} ways to share a step: {digests} digest", "pytest tests/test_disorder.py",
    ),
    "sanitizer": (
        "Reports of ThreadSanitizer", "{reports}, in {tests} tests of all that threads share", "tox run -e race",
    ),
    "mutants": ("Races seeded into the kernels, and caught", "{seeded}, {caught} caught", "tox run -e race"),
    "asan": (
        "Reports of AddressSanitizer and UndefinedBehaviorSanitizer",
        "{reports}, in {tests:,} tests of the default suite", "tox run -e asan",
    ),
    "io_faults": (
        "Calls of the system in a save that a kill, a full disk, a broken disk or a write that lied has met",
        "{injected:,}: after {survived:,} of them the step saved, or the one before, led on to the same bits",
        "tox run -e faults",
    ),
    "kills": (
        "kill -9 at random moments of one run, which went on with 1, 2 or 3 threads",
        "{kills}, {torn} of them in the middle of a save: the digest and the ledger of an undisturbed run",
        "tox run -e faults",
    ),
    "flips": (
        "Bits flipped, files cut short, pages lost: checkpoints, tokens, tokenizers, ledger, config",
        "{tried:,}: {detected:,} refused, {harmless} of no meaning to a run", "tox run -e faults",
    ),
    "interrupts": (
        "Ctrl-C in a step that lasts seconds, on two cores that others used as well",
        "{presses} presses, half of them answered within {p50_ms} ms, 99 % within {p99_ms} ms", "tox run -e faults",
    ),
    "bad_inputs": (
        "Bad files, folders, configs and plugins, by name",
        "{tried} tried, {refused} refused in one line of four parts",
        "pytest tests/hostile/test_refused.py",
    ),
    "fuzz": (
        "Files that a fuzzer made", "{executions:,} in {seconds:,} s, read or refused by {readers} readers",
        "tox run -e fuzz",
    ),
    "largest_input": (
        "The largest file that `cllm prepare` was given",
        "{gigabytes} GB of SQuAD's JSON, with {peak_mb} MB of memory at the most and {mb_per_second} MB/s",
        "python -m tests.hostile.large 10",
    ),
    "cycles": (
        "Engines made, trained with and thrown away with up to 64 threads on 2 cores",
        "{cycles:,} in {kinds} surroundings, {hangs} hung", "tox run -e soak",
    ),
}


def table(numbers: dict[str, dict[str, Any]]) -> str:
    """The rows that have been counted, in the order of ROWS, as Markdown."""
    lines = ["| | counted | by |", "|---|---|---|"]
    for row, (label, sentence, command) in ROWS.items():
        if row in numbers:
            lines.append(f"| {label} | {sentence.format(**numbers[row])} | `{command}` |")
    return "\n".join(lines) + "\n"


def page_with(page: str, rows: str) -> str:
    """The page with the table between its marks replaced."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{rows}\n{END}{rest.split(END)[1]}"


def main() -> None:
    numbers = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    for given in sys.argv[1:]:
        numbers |= json.loads(Path(given).read_text())
    unknown = numbers.keys() - ROWS.keys()
    if unknown:
        raise SystemExit(f"rows without a sentence: {', '.join(sorted(unknown))}")
    NUMBERS.write_text(json.dumps(numbers, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page_with(PAGE.read_text(), table(numbers)))


if __name__ == "__main__":
    main()
