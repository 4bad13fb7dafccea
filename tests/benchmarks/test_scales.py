"""What grows with what: the sizes that are varied, exponents and findings of given points, the picture."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import scale_of_work
from benchmarks.loglog import CURVES, chart, curves, short
from benchmarks.model import program_of
from benchmarks.scales import AXES, Axis, Point, exponent, findings, growth

FIELDS = {
    "T": {"block_size"}, "C": {"n_embd", "n_head"}, "V": {"vocab_size"}, "S": {"micro_batch_size"}, "P": {"n_layer"},
}


def points(time: float, memory: float, counted: float = 1.0) -> list[Point]:
    """Three, at 1, 2 and 4, that grow with these exponents, and with FLOPs that are linear."""
    return [
        Point(x, float(x**time), 0.5, 2.0, float(x), int(1e6 * x**memory), int(1e6 * x**counted)) for x in (1, 2, 4)
    ]


@pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
def test_an_axis_varies_one_thing_in_tasks_that_build(axis: Axis) -> None:
    tasks = [axis.task(value) for value in axis.values]
    first = asdict(tasks[0])
    varied = {name for task in tasks for name, value in asdict(task).items() if value != first[name]}
    assert varied == FIELDS[axis.letter]
    assert len({program_of(task).n_parameters for task in tasks}) == (1 if axis.letter == "S" else len(tasks))


def test_t_goes_from_128_to_4096() -> None:
    assert (AXES["T"].values[0], AXES["T"].values[-1]) == (128, 4096)


def test_exponents_are_those_between_the_last_two() -> None:
    assert exponent([1.0, 2.0, 4.0], [9.0, 1.0, 4.0]) == pytest.approx(2.0)
    found = growth(points(2.0, 0.5))
    assert (found.time, found.flops, found.memory, found.counted) == pytest.approx((2.0, 1.0, 0.5, 1.0), abs=1e-5)


def test_where_all_is_as_it_should_be_nothing_is_found() -> None:
    assert findings("T", points(1.1, 1.0)) == []


def test_a_hidden_quadratic_cost_is_found() -> None:
    assert findings("S", points(2.0, 1.0)) == ["time grows as S^2.00 and FLOPs as S^1.00: a hidden cost"]
    assert any("memory grows as C^2.00" in line for line in findings("C", points(1.0, 2.0)))
    # counted as quadratic, it is still too much for T, and more than was counted is found too
    assert findings("T", points(1.0, 2.0, 2.0)) == ["memory grows as T^2.00, which should be no more than T"]
    large = [replace(point, memory=8_000_000) for point in points(1.0, 1.0)]
    assert findings("T", large) == ["8 MB are resident where 4 MB are counted"]


def test_a_system_that_says_nothing_of_memory_has_no_exponent() -> None:
    silent = [replace(point, memory=None) for point in points(1.0, 1.0)]
    assert growth(silent).memory is None and findings("T", silent) == []
    assert curves(silent)[CURVES.index("memory")] == []


def test_the_picture_has_a_panel_for_each_and_every_curve_begins_at_1() -> None:
    found = {"T": points(2.0, 1.0), "S": points(-0.5, 0.0)}
    assert all(ys[0] == 1.0 for ys in curves(found["T"]))
    picture = ElementTree.fromstring(chart(found))
    names = [text.text for text in picture.iter() if text.tag.endswith("text")]
    assert "T: tokens of a sequence" in names and "S: shards of the same batch" in names
    assert len([x for x in picture.iter() if x.tag.endswith("polyline")]) == 2 * len(CURVES)


def test_numbers_fit_under_an_axis() -> None:
    assert [short(n) for n in (64, 4096, 65536, 12_345_678)] == ["64", "4096", "66k", "12.3M"]


def test_the_command_measures_two_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--axis", "T", "--points", "2", "--threads", "1", "--runs", "1", "--seconds", "0.01"]
    written, drawn = tmp_path / "found.json", tmp_path / "found.svg"
    assert scale_of_work.main([*words, "--json", str(written), "--svg", str(drawn)]) == 0
    assert "between the last two: time as T^" in capsys.readouterr().out
    first, second = json.loads(written.read_text())["points"]["T"]
    assert (first["x"], second["x"]) == (128, 256)
    assert second["flops"] > 2 * first["flops"] and second["attention_flops"] > 3.9 * first["attention_flops"]
    assert drawn.read_text().startswith("<svg")


def test_options_that_make_no_growth_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--points", "1"], ["--runs", "0"], ["--axis", "B"]):
        with pytest.raises(SystemExit):
            scale_of_work.parse(words)
