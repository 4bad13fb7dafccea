"""The figures of a report: what is drawn over the steps of all its runs, in which colours, under which names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from cllm.figures import known
from cllm.markup import COLOURS, Markup
from cllm.reporting.plot import Curve, Mark, plot, style_of
from cllm.reporting.runs import Run
from cllm.reporting.thinning import Point, means, thinned

LIGHTER = ("#6db3e8", "#f0965a", "#7cc47f", "#c39be0", "#ec8aa0")  # on a dark page


def _named(colours: Sequence[str]) -> str:
    return ":root { " + " ".join(f"--c{number}: {colour};" for number, colour in enumerate(colours)) + " }"


CHART_STYLE = f"""
{_named(COLOURS)}
@media (prefers-color-scheme: dark) {{ {_named(LIGHTER)} }}
""" + """
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); } .c4 { --c: var(--c4); }
.d1 { stroke-dasharray: 7 4; } .d2 { stroke-dasharray: 2 4; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28em), 1fr)); gap: 1.5em 2.5em; }
figure { margin: 0; min-width: 0; } figcaption { margin-bottom: 0.3em; }
svg text { fill: var(--ink); } svg .faint { fill: var(--faint); } .grid { stroke: var(--grid); }
path { fill: none; stroke: var(--c); stroke-linecap: round; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.thin { stroke-width: 1; opacity: 0.55; } .thick { stroke-width: 2.2; }
.mark line { stroke: var(--c); stroke-dasharray: 1 3; }
.mark text { fill: var(--c); font-weight: bold; font-size: 12px; }
.key { display: inline-block; margin-right: 1em; } .key svg { display: inline-block; width: 26px; height: 10px; }
"""


@dataclass(frozen=True)
class Figure:
    """What one picture shows of every run."""

    heading: str
    unit: str
    column: str
    at_least: tuple[float, ...] = ()  # what the axis has in any case
    has_marks: bool = False
    is_restless: bool = False  # so that its means are drawn over it
    is_metric: bool = False  # then `column` is its label in [metrics]


FIGURES = (
    Figure("Loss", "nats per token", "loss", has_marks=True),
    Figure("Learning rate", "as used", "learning_rate", (0.0,), has_marks=True),
    Figure("Gradient norm", "before clipping", "gradient_norm", has_marks=True, is_restless=True),
    Figure("Tokens per second", "by the median of the last steps", "tokens_per_second", (0.0,)),
    Figure("Useful CPU", "share of threads times time that computed", "useful_cpu", (0.0, 1.0), is_restless=True),
    Figure("Balance", "the mean thread's work over the busiest one's", "load_balance", (0.0, 1.0), is_restless=True),
)


def charts(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[str]:
    """Every figure as HTML, those of metrics last; none where no step was reported."""
    last = max((run.history.steps[-1] for run in runs if run.history.steps), default=0)
    if not last:
        return
    marks = [mark for number, run in enumerate(runs) for mark in _marks(run, labels[number], number, len(runs))]
    last = max(last, *(mark.step for mark in marks), 1)
    keys = "".join(key(label, number) for number, label in enumerate(labels)) if len(runs) > 1 else ""
    for figure in (*FIGURES, *_of_metrics(runs)):
        curves = [curve for number, run in enumerate(runs) for curve in _curves(figure, run, labels[number], number)]
        over = "; thick: " + ", ".join(sorted({curve.what for curve in curves if curve.what}))
        unit = figure.unit + (over if any(curve.what for curve in curves) else "")
        picture = plot(
            f"{figure.heading}, {figure.unit}", curves, marks if figure.has_marks else (), last, figure.at_least
        )
        legend = f"<br>{keys}" if keys else ""
        caption = f"<figcaption><b>{escape(figure.heading)}</b> <small>{escape(unit)}</small>{legend}</figcaption>"
        yield f"<figure>{caption}{picture}</figure>"


def _of_metrics(runs: Sequence[Run]) -> Iterator[Figure]:
    """One for each label that any of the runs has."""
    for label in sorted({label for run in runs for label in run.history.metrics}):
        yield Figure(label, "a metric of a plugin", label, is_metric=True)


def _curves(figure: Figure, run: Run, label: str, number: int) -> Iterator[Curve]:
    """The curve of the column, thin where there is another to be drawn over it."""
    history = run.history
    if figure.is_metric:
        yield Curve(label, number, _thinned(history.metrics.get(figure.column, [])))
        return
    values = history.columns[figure.column]
    over = means(history.steps, values) if figure.is_restless else []
    what = "mean"
    if figure.column == "loss":
        over, what = thinned(history.evaluated, history.validation), "validation"
    yield Curve(label, number, thinned(history.steps, values), is_thin=bool(over))
    if over:
        yield Curve(label, number, over, what)
    if figure.column == "loss":
        for name, found in history.others.items():
            yield Curve(label, number, _thinned(found), name)


def _thinned(points: Sequence[tuple[int, float]]) -> list[Point]:
    return thinned([step for step, _ in points], [value for _, value in points])


def _marks(run: Run, label: str, number: int, n_runs: int) -> Iterator[Mark]:
    who = f"{label}: " if n_runs > 1 else ""
    for event in run.history.events:
        text = f"{who}{event.kind} at step {event.step:,}, loss {known(event.loss, '.4g')}: {'; '.join(event.reasons)}"
        yield Mark(event.step, event.kind, number, text)


def key(label: str, number: int) -> Markup:
    """A run's name beside a piece of its line."""
    line = f'<svg viewBox="0 0 26 10"><path class="thick {style_of(number)}" d="M1,5H25"/></svg>'
    return Markup(f'<span class="key">{line} {escape(label)}</span>')
