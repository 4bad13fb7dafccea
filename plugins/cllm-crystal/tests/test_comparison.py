"""The comparison: its tables, its picture, a small run of it, and that the README shows what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import compare
import pytest
from curves import chart
from tables import finals, progress

HERE = Path(compare.__file__).parent
LOSSES = {
    "family": {"1": [3.0, 2.5, 2.0], "2": [3.2, 2.7, 2.2]},
    "worse": {"1": [3.5, 3.0, 2.1], "2": [3.5, 3.0, 2.5]},
    "same": {"1": [3.0, 2.5, 2.000001], "2": [3.2, 2.7, 2.200001]},
}


def cells(table: str) -> list[list[str]]:
    return [line.strip("| \n").split(" | ") for line in table.splitlines()]


def test_differences_are_taken_seed_by_seed() -> None:
    family, worse, same = cells(finals(LOSSES))[2:]
    assert family[:3] == ["family", "2.1000", "0.1414"]
    assert worse == ["worse", "2.3000", "0.2828", "+0.2000 ± 0.1000", "+0.1000, +0.3000"]
    assert same[3] == "+1e-06 ± 0.0000"


def test_progress_is_the_mean_over_seeds() -> None:
    heads, _, family, worse, _ = cells(progress(LOSSES, 50))
    assert heads == ["step", "50", "100", "150"]
    assert family == ["family", "3.1000", "2.6000", "2.1000"]
    assert worse[1:] == ["3.5000", "3.0000", "2.3000"]


def test_the_picture_has_a_band_and_a_line_for_each_arm() -> None:
    picture = ElementTree.fromstring(chart(LOSSES, 50))
    bands, lines = (
        [e.attrib["points"].split() for e in picture.iterfind(f".//{{*}}{kind}")] for kind in ("polygon", "polyline")
    )
    assert [len(line) for line in lines] == [3, 3, 3] and [len(band) for band in bands] == [6, 6, 6]
    heights = [float(point.partition(",")[2]) for point in lines[0]]
    assert heights == sorted(heights)  # losses fall, so lines go down, where y grows
    assert {"family", "worse", "same", "150"} <= {element.text for element in picture.iterfind(".//{*}text")}


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{n} and {n} make {2 * n}.\n" for n in range(1500)))
    small = ("model.n_layer=1", "model.n_embd=16", "train.eval_batches=1", "schedule.warmup_steps=1")
    monkeypatch.setattr(compare, "SETTINGS", (*compare.SETTINGS, *small))
    words = ["compare.py", str(text), "--steps", "4", "--every", "2", "--seeds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    compare.main()
    result = json.loads((tmp_path / "curves.json").read_text())
    assert list(result["losses"]) == list(compare.ARMS)
    assert all(len(curve) == 2 for curves in result["losses"].values() for curve in curves.values())
    assert finals(result["losses"]) in capsys.readouterr().out
    picture = (tmp_path / "curves.svg").read_text()
    monkeypatch.setattr("sys.argv", ["compare.py", "--from", str(tmp_path / "curves.json"), "--out", str(tmp_path)])
    compare.main()
    assert (tmp_path / "curves.svg").read_text() == picture


def test_the_readme_shows_what_was_measured() -> None:
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    result = json.loads((HERE / "curves.json").read_text())
    assert finals(result["losses"]) in readme and progress(result["losses"], result["every"]) in readme
    assert (HERE / "curves.svg").read_text() == chart(result["losses"], result["every"])
