"""The page in a browser, on a phone's width and a screen's: nothing is wider than the window or cut off."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from cllm.hooks.manager import build_manager
from cllm.jsonl import line_of
from cllm.reporting import look_at, page
from tests.hooks.values import a_report
from tests.reporting.browser import OPTIONS, found_chromium
from tests.runs import config, train

# Says what a browser has made of the page. A browser's window may not be as narrow as a phone, so the page stands in a
# frame of another.
PROBE = """<script>
const shown = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.right, r.width, r.height]; };
const texts = [...document.querySelectorAll("figure > svg text")].map((e) => ({
  text: e.textContent, box: shown(e), svg: shown(e.ownerSVGElement) }));
parent.document.documentElement.dataset.found = JSON.stringify({
  window: innerWidth, page: document.documentElement.scrollWidth, texts,
  pictures: [...document.querySelectorAll("figure > svg")].map(shown),
  lines: [...document.querySelectorAll("figure > svg path")].map((e) => e.getTotalLength()),
  colour: getComputedStyle(document.querySelector("figure > svg path")).stroke,
  background: getComputedStyle(document.body).backgroundColor,
});
</script>"""


def chromium(*options: str | Path) -> str:
    """What a headless Chromium, which knows of no user, prints."""
    words = [found_chromium(), *OPTIONS, *map(str, options)]
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        run = subprocess.run(
            [*words, f"--user-data-dir={profile}"], capture_output=True, text=True, timeout=100, check=True
        )
    return run.stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one.html, of a run, and many.html, of six, which have long names and many decisions."""
    folder = tmp_path_factory.mktemp("pages")
    paths = []
    train(config(folder), folder / "first")
    for number in range(6):
        path = folder / f"a-run-with-a-name-as-long-as-people-give-when-they-try-much-{number}"
        shutil.copytree(folder / "first", path)
        with (path / "metrics.jsonl").open("a") as file:
            for step in range(13, 700):
                changes = {"loss": 3.0 + number + 1 / step, "gradient_norm": 1.0 + step % 7, "learning_rate": 1 / step}
                file.write(line_of(vars(a_report(step=step, n_steps=1_000_000, **changes))) + "\n")
                if step % 50 == 0:
                    why = {"decision": "skip", "reasons": ("spike: " + "very " * 30 + "high",)}
                    file.write(line_of(vars(a_report(step=step, n_steps=1_000_000, **why))) + "\n")
        paths.append(path)
    seen = [look_at(path, build_manager()) for path in paths]
    for name, runs in (("one", seen[:1]), ("many", seen)):
        text = page(runs)
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


def found_in(page: Path, width: int, *options: str) -> dict[str, Any]:
    """What the probe says of the page in a window of this width."""
    probed = escape(page.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"))
    frame = page.with_name(f"{page.stem}-in-{width}.html")
    frame.write_text(f'<!doctype html><iframe style="border: 0; width: {width}px" srcdoc="{probed}"></iframe>')
    dom = chromium("--window-size=1400,1000", "--dump-dom", *options, f"file://{frame}")
    said = re.search(r'data-found="([^"]*)"', dom)
    assert said is not None
    found: dict[str, Any] = json.loads(unescape(said[1]))
    return found


@pytest.mark.parametrize("name", ["one", "many"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window_or_cut_off(name: str, width: int, pages: Path) -> None:
    found = found_in(pages / f"{name}.html", width)
    assert found["window"] == width and found["page"] <= width
    assert len(found["pictures"]) == 6
    for left, right, across, down in found["pictures"]:
        assert left >= 0 and right <= width and across > 300 and down > 140
    assert len(found["texts"]) > 60
    for text in found["texts"]:
        (left, right, _, height), (svg_left, svg_right, _, _) = text["box"], text["svg"]
        assert svg_left <= left and right <= svg_right, text
        assert height > 9, text  # pixels: smaller letters are no longer read
    assert min(found["lines"]) > 1 and max(found["lines"]) > 300


def test_dark_and_light_are_as_the_reader_has_them(pages: Path) -> None:
    dark, light = (
        found_in(pages / "one.html", 390, f"--blink-settings=preferredColorScheme={scheme}") for scheme in (0, 1)
    )
    assert (dark["background"], light["background"]) == ("rgb(22, 24, 27)", "rgb(255, 255, 255)")
    assert dark["colour"] != light["colour"]


@pytest.mark.parametrize("width", [390, 1200])
def test_it_can_be_pictured(width: int, pages: Path, tmp_path: Path) -> None:
    chromium(f"--window-size={width},900", f"--screenshot={tmp_path / 'page.png'}", f"file://{pages / 'many.html'}")
    picture = (tmp_path / "page.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(picture[at : at + 4], "big") for at in (16, 20)] == [width, 900]
    assert len(picture) > 20_000  # a blank page of this size has some 5 kB
