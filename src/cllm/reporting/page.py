"""The page of a report: what the runs are, their curves, what checks decided, in what their configs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cllm.config import to_toml
from cllm.config.compare import is_numeric
from cllm.errors import count
from cllm.figures import duration, known, rate
from cllm.markup import Markup, document, rows
from cllm.reporting.charts import CHART_STYLE, charts, key
from cllm.reporting.runs import Run, differences, labels_of
from cllm.version import __version__

FACTS = (
    "run", "model", "parameters", "steps", "last loss", "best validation loss", "time", "tokens/s", "useful CPU",
    "balance", "memory", "decided",
)
EVENT = ("run", "step", "decision", "loss", "why")
NOTE = "Time and tokens per second are of steps alone, without evaluations and saves."
MANY = 4
MOST_EVENTS = 100  # of a run, in the table; marks show all
MOST_SHOWN = 6  # samples of a run

STYLE = CHART_STYLE + """
body { max-width: 76em; }
.many td, .many th { white-space: nowrap; } .many td:last-child, .events td:last-child { min-width: 13em; }
.samples pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.many td:last-child { white-space: normal; } th .key { min-width: 6.5em; } small, .note { color: var(--faint); }
"""


def page(runs: Sequence[Run]) -> str:
    """The whole page of one run or several."""
    return document(title_of([run.path for run in runs]), "".join(sections(runs)), STYLE)


def title_of(paths: Sequence[Path]) -> str:
    """What a page about the runs in these folders is called."""
    labels = labels_of(paths)
    return labels[0] if len(labels) == 1 else f"{len(labels)} runs: {', '.join(labels)}"


def sections(runs: Sequence[Run]) -> list[str]:
    """The parts of the page as HTML, as many of whatever runs; one that has nothing to tell is empty."""
    paths = [run.path for run in runs]
    labels = labels_of(paths)
    told = (
        [f"<h1>{escape(title_of(paths))}</h1>"], [_table(runs, labels)], _silent(runs, labels),
        [f'<div class="charts">{"".join(charts(runs, labels))}</div>'], _events(runs, labels), _samples(runs, labels),
        _config_differences(runs, labels), ["<h2>Configs</h2>", *map(_config, runs, labels)],
        [f'<p class="note">Written by cllm {escape(__version__)}.</p>'],
    )
    return ["".join(section) for section in told]


def _table(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """A column a run, which a phone has room for; of many runs a line each."""
    lines = [_facts(run, label, number) for number, (run, label) in enumerate(zip(runs, labels, strict=True))]
    if len(runs) < MANY:
        heads, *others = zip(*lines, strict=True)
        named = zip(FACTS[1:], others, strict=True)
        table = rows(("run", *heads), ([Markup(f"<b>{name}</b>"), *line] for name, line in named))
    else:
        table = f'<div class="many">{rows(FACTS, lines)}</div>'
    threads = sorted({run.n_threads for run in runs if run.memory is not None})
    return f'{table}<p class="note">{NOTE}{_of_threads(threads)}</p>'


def _of_threads(threads: Sequence[int]) -> str:
    if not threads:
        return ""
    return f" Memory is estimated, for {' or '.join(map(str, threads))} thread{'' if threads == [1] else 's'}."


def _facts(run: Run, label: str, number: int) -> list[str]:
    """What stands under FACTS."""
    history = run.history
    losses, best = history.columns["loss"], history.best()
    n_steps, wanted = history.steps[-1] if history.steps else 0, history.n_steps or run.config.train.steps
    busy, balance = (history.average(name) for name in ("useful_cpu", "load_balance"))
    return [
        key(label, number), run.config.model.family, known(run.n_parameters, ","),
        f"{n_steps:,}" + (f" of {wanted:,}" if wanted else ""), known(losses[-1] if losses else None, ".4f"),
        f"{best[1]:.4f} at step {best[0]:,}" if best else "–", duration(history.seconds),
        rate(history.n_tokens / history.seconds) if history.seconds else "–", known(busy, ".0%"), known(balance, ".0%"),
        f"{run.memory / 1e6:,.1f} MB" if run.memory is not None else "–", _decided(run),
    ]


def _decided(run: Run) -> str:
    """Counts by kind, those of clipped updates too."""
    told = [f"{n:,} {kind}" for kind, n in sorted(run.history.counts.items()) if n]
    return ", ".join(told) or "nothing"


def _silent(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    """Runs without a single report, and why that may be."""
    silent = [label for run, label in zip(runs, labels, strict=True) if not run.history.steps]
    if silent:
        names = escape(", ".join(silent))
        why = "there was none yet, or the sink jsonl is off"
        yield f'<p class="note">No step is reported in metrics.jsonl of {names}: {why}.</p>'


def _events(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    """What the letters above the curves mean, and what they stand for."""
    if not any(run.history.events for run in runs):
        return
    kinds = sorted({event.kind for run in runs for event in run.history.events})
    letters = ", ".join(f"{kind[:1].upper()} {kind}" for kind in kinds)
    yield f"<h2>What checks decided</h2><p>In the pictures: {escape(letters)}.</p>"
    first = int(len(runs) == 1)  # one run needs no name
    table = rows(EVENT[first:], (line[first:] for line in _event_lines(runs, labels)))
    yield f'<div class="events">{table}</div>'
    for run, label in zip(runs, labels, strict=True):
        if (more := len(run.history.events) - MOST_EVENTS) > 0:
            yield f"<p>And {count(more, 'decision')} more of {escape(label)}: see its ledger.jsonl.</p>"


def _event_lines(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[Sequence[str]]:
    for number, (run, label) in enumerate(zip(runs, labels, strict=True)):
        for event in run.history.events[:MOST_EVENTS]:
            loss, why = known(event.loss, ".4g"), "; ".join(event.reasons)
            yield key(label, number), f"{event.step:,}", event.kind, loss, why


def _samples(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    """What the models wrote, from the first evaluation to the last."""
    if not any(run.history.samples for run in runs):
        return
    yield "<h2>Samples</h2>"
    for run, label in zip(runs, labels, strict=True):
        lines = [(f"{step:,}", Markup(f"<pre>{escape(text)}</pre>")) for step, text in _spread(run.history.samples)]
        if lines:
            named = f"<p>{escape(label)}, from {escape(repr(run.config.train.sample_prompt))} on:</p>"
            yield f'{named}<div class="samples">{rows(("step", "text"), lines)}</div>'


def _spread(samples: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """At most MOST_SHOWN of them, the first and the last included."""
    n = min(len(samples), MOST_SHOWN)
    for number in range(n):
        yield samples[number * (len(samples) - 1) // max(1, n - 1)]


def _config_differences(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    if len(runs) < 2:
        return
    found = differences([run.config for run in runs])
    yield "<h2>In what the configs differ</h2>"
    if not found:
        yield "<p>In nothing.</p>"
        return
    yield "<p>Keys in bold decide bits.</p>"
    heads = ["key", *(key(label, number) for number, label in enumerate(labels))]
    yield rows(heads, ([_setting(name), *map(_value, values)] for name, values in found))


def _setting(name: str) -> str:
    return Markup(f"<b>{escape(name)}</b>") if is_numeric(name) else name


def _value(value: Any) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _config(run: Run, label: str) -> str:
    return f"<details><summary>{escape(label)}</summary><pre>{escape(to_toml(run.config))}</pre></details>"
