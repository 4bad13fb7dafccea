"""Curves as SVG: no leap is lost however many steps there are, gaps stay gaps, axes have round numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from cllm.reporting.plot import Curve, Mark, plot, style_of
from cllm.reporting.scale import Scale, scale
from cllm.reporting.thinning import MOST, means, thinned

SVG = "{http://www.w3.org/2000/svg}"


def drawn(points: Sequence[tuple[int, float]], last: int = 10) -> list[str]:
    (path,) = ElementTree.fromstring(plot("loss", [Curve("one", 0, points)], [], last)).iter(f"{SVG}path")
    return re.findall(r"M[^M]*", path.get("d") or "")


# --- as many points as can be seen ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, MOST, MOST + 1, 12_345])
def test_few_points_are_left_and_the_extremes_are_among_them(n: int) -> None:
    values = [math.sin(i) for i in range(n)]
    values[n // 3], values[n // 2] = 50.0, -50.0
    points = thinned(range(n), values)
    assert len(points) <= min(n, MOST)
    assert points == sorted(points) and (points[0][0], points[-1][0]) == (0, n - 1)
    assert all(values[step] == value for step, value in points)
    assert min(values) in [value for _, value in points] and max(values) in [value for _, value in points]


def test_each_stretch_keeps_its_own_extremes() -> None:
    values = [float(i % 100) for i in range(100_000)]
    kept = [value for _, value in thinned(range(100_000), values)]
    assert kept.count(0.0) > 400 and kept.count(99.0) > 400


def test_gaps_are_kept() -> None:
    values = [1.0] * 50_000
    values[20_000:30_000] = [math.nan] * 10_000
    values[40_000] = math.nan
    points = thinned(range(50_000), values)
    holes = [step for step, value in points if value != value]
    assert min(holes) == 20_000 and max(holes) == 40_000 and 90 < len(holes) < 110


def test_means_are_of_long_curves_alone() -> None:
    assert means(range(50), [1.0] * 50) == []
    points = means(range(6000), [float(i % 2) for i in range(6000)])
    assert len(points) == 60 and {value for _, value in points} == {0.5}
    holes = means(range(6000), [math.nan] * 3000 + [4.0] * 3000)
    assert sum(value != value for _, value in holes) == 30 and holes[-1][1] == 4.0


# --- the scale ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 10.0], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]), ([2.31, 2.34], [2.31, 2.32, 2.33, 2.34]),
        ([1e-3, 1e3], [1e-3, 1e-1, 1e1, 1e3]), ([1.0, 100.0], [1.0, 10.0, 100.0]), ([3.0, 3.0], None), ([], None),
        ([-1e30, 1e30], None), ([1e-30, 2e-30], None), ([-5.0, -4.0], None),
        ([0.3, 60.0], [0.5, 1.0, 2.0, 5.0, 10, 20, 50]),
        ([math.nan, 1.0], None), ([5e-324, 1e308], None), ([0.0, 5e-324], None),
        ([-1e308, 1e308], None), ([1e16, 1e16 + 2], None), ([1e-310, 2e-310], None),
    ],
)
def test_ticks_are_round_and_inside(values: list[float], ticks: list[float] | None) -> None:
    axis = scale(values, 200.0, 10.0)
    found = axis.ticks()
    assert 2 <= len(found) <= 12
    assert all(label for _, label in axis.labels())
    assert all(10.0 <= axis.place(tick) <= 200.0 for tick in found)
    assert found == sorted(found)
    if ticks is not None:
        assert found == pytest.approx(ticks)


def test_what_is_at_least_there_is_an_end_of_the_axis() -> None:
    axis = scale([0.2, 0.9], 0.0, 100.0, at_least=(0.0, 1.0))
    assert (axis.low, axis.high, axis.place(0.5)) == (0.0, 1.0, 50.0)


def test_numbers_beyond_the_axis_stand_at_its_ends() -> None:
    axis = Scale(1.0, 100.0, 0.0, 10.0, in_powers=True)
    assert [axis.place(value) for value in (0.0, 1.0, 10.0, 1e9)] == [0.0, 0.0, 5.0, 10.0]


# --- the picture -------------------------------------------------------------------------------------------------


def test_a_gap_breaks_the_line_and_a_lone_point_is_seen() -> None:
    points = [(1, 1.0), (2, 2.0), (3, math.nan), (4, 3.0), (5, math.nan), (6, 1.0), (7, 1.0)]
    first, lone, last = drawn(points)
    assert first.count("L") == 1 and last.count("L") == 1 and lone.endswith("h0")


def test_higher_is_higher_and_later_is_further_right() -> None:
    ((x1, y1), (x2, y2)) = ([float(n) for n in p.split(",")] for p in drawn([(1, 1.0), (9, 2.0)])[0][1:].split("L"))
    assert x1 < x2 and y1 > y2


def test_marks_of_a_kind_that_are_close_are_one_and_say_how_many() -> None:
    marks = [Mark(step, "skip", 0, f"skip at {step} <&>") for step in range(1, 101)] + [Mark(99, "rewind", 1, "back")]
    picture = ElementTree.fromstring(plot("loss", [], marks, 10_000))
    groups = [g for g in picture.iter(f"{SVG}g")]
    assert [(g.findtext(f"{SVG}text"), g.findtext(f"{SVG}title")) for g in groups] == [
        ("R", "back"), ("S", "100 skips up to step 100, the first: skip at 1 <&>"),
    ]
    rewind, skip = (float(next(g.iter(f"{SVG}text")).get("y") or 0) for g in groups)
    assert rewind < skip  # each kind has a row of its own


def test_a_thousand_marks_stay_readable() -> None:
    marks = [Mark(step, "skip", 0, "x") for step in range(1000)]
    assert plot("loss", [], marks, 1000).count("<g ") < 40


def test_runs_are_told_apart() -> None:
    assert len({style_of(run) for run in range(15)}) == 15
