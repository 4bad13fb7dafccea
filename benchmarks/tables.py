"""Comparisons as text for a terminal and as Markdown for pages."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import Comparison, Side
from cllm.errors import count

COLUMNS = (
    "side", "ms a step", "range", "tokens/s", "GFLOP/s", "MFU", "cllm is", "range", "processor ms", "memory",
    "first step", "installed",
)
TEXT = 1  # columns of words, which stand at the left; numbers stand at the right


def row(found: Comparison, side: Side) -> list[str]:
    """One side's cells under COLUMNS."""
    busy = sorted(side.busy)[len(side.busy) // 2]
    least, most = found.ratios(side)
    first = side is found.sides[0]
    return [
        side.name, milliseconds(side.median), f"{milliseconds(min(side.seconds))}-{milliseconds(max(side.seconds))}",
        f"{found.tokens_per_second(side):,.0f}", f"{found.rate(side) / 1e9:.1f}", f"{found.utilisation(side):.0%}",
        "" if first else f"{found.ratio(side):.2f}x", "" if first else f"{least:.2f}-{most:.2f}",
        milliseconds(busy), size(side.memory), f"{side.start_seconds:.1f} s", size(side.installed),
    ]


def text(found: Comparison) -> str:
    """Lines for a terminal: the table, then what it does not say."""
    cells = [list(COLUMNS), *(row(found, side) for side in found.sides)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(c.ljust(w) if i < TEXT else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    ]
    return "\n".join([*(line.rstrip() for line in lines), *notes(found)])


def notes(found: Comparison) -> list[str]:
    """What was compared, how quietly, and what was left out."""
    peaks = " and ".join(f"{peak / 1e9:.1f}" for peak in found.peaks)
    rounds = f"{len(found.sides[0].seconds)} rounds"
    disturbed = (
        f"{found.disturbed} more, during which others used the machine, left out" if found.quiet
        else "NOISY: others used the machine during most of them, and all count"
    )
    return [
        *(f"{side.name}: {'; '.join(filter(None, (side.description, side.note)))}; {count(side.n_steps, 'step')} a run"
          for side in found.sides),
        f"multiply-adds in registers, before and after: {peaks} GFLOP/s; {rounds}; {disturbed}",
        *(f"left out: {name}, {why}" for name, why in found.left_out.items()),
    ]


def markdown(comparisons: Sequence[Comparison], command: str, machine: str) -> str:
    """A page's part: command and machine, then a table for each config."""
    parts = [f"`{command}`\n\n{machine}\n"]
    for found in comparisons:
        lines = [COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)], *(row(found, side) for side in found.sides)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        bullets = "\n".join(f"- {note}" for note in notes(found))
        parts.append(f"{heading(found)}\n\n{table}\n\n{bullets}\n")
    return "\n".join(parts)


def heading(found: Comparison) -> str:
    task = found.task
    return (
        f"**{found.config}**: V {task.vocab_size:,}, T {task.block_size}, L {task.n_layer}, NH {task.n_head}, "
        f"C {task.n_embd}, B {task.batch_size}; threads: {found.n_threads}"
    )


def milliseconds(seconds: float) -> str:
    """Four digits or more, so that a difference of a thousandth is seen."""
    value = 1e3 * seconds
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:,.1f}"


def size(n_bytes: int | None) -> str:
    if n_bytes is None:
        return "?"
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes < 1e7 else f"{n_bytes / 1e6:,.0f} MB"
