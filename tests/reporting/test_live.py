"""The live page in Chromium: what a run adds appears without a reload, and what the reader did to the page stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cllm.folderlock import FolderLock
from cllm.jsonl import line_of
from tests.hooks.values import a_report
from tests.reporting.browser import Browser
from tests.reporting.watching import watching
from tests.runs import config, train

CURVE = "document.querySelector('figure > svg path').getTotalLength()"
PICTURES = "[...document.querySelectorAll('figure > svg')].map((e) => e.getBoundingClientRect().toJSON())"
WILD = "<img src='x' onerror='mine = 2'><b onclick='mine = 2'>x</b>"
DIGESTS = "[...document.querySelector('main').children].map((e) => e.dataset.digest)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    train(config(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Iterator[Path]:
    """A run of 100 steps, five of which are made, in which somebody trains: this process."""
    shutil.copytree(base, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    add(tmp_path / "run", *range(1, 6))
    lock = FolderLock(tmp_path / "run" / "lock")
    yield tmp_path / "run"
    lock.release()


def add(run: Path, *steps: int, **changes: object) -> None:
    """Reports of steps, at once; a loss of theirs each."""
    lines = [vars(a_report(step=n, loss=2.0 + 1.0 / n, eta_seconds=100.0 - n, **changes)) for n in steps]
    with (run / "metrics.jsonl").open("ab") as file:
        file.write("".join(line_of(line) + "\n" for line in lines).encode())


def has_steps(n: int) -> str:
    return f"document.querySelector('main').textContent.includes('{n} of 100')"


@pytest.mark.parametrize("width", [390, 1200])
def test_a_new_point_appears_without_a_reload(width: int, browser: Browser, run: Path, tmp_path: Path) -> None:
    with watching(run) as found:
        browser.open(found.address, width)
        assert browser.value(has_steps(5)) and browser.value("innerWidth") == width
        browser.value("window.mine = 1")  # gone after a reload
        before = browser.value(CURVE)
        assert browser.value("document.querySelector('#states').textContent") == "The run goes on, about 1:35 to go."
        add(run, 6, 7)
        browser.until(has_steps(7))
        assert browser.value(CURVE) != before and browser.value("window.mine") == 1
        browser.until("document.querySelector('#states').textContent.includes('about 1:33 to go')")
        assert browser.value("document.documentElement.scrollWidth") <= width
        boxes = browser.value(PICTURES)
        assert len(boxes) == 6 and all(box["left"] >= 0 and box["right"] <= width for box in boxes)
        browser.picture(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 20_000


def test_what_the_reader_did_to_the_page_stays(browser: Browser, run: Path) -> None:
    with watching(run) as found:
        browser.open(found.address, 390)
        browser.value("document.styleSheets[0].insertRule('.wide { width: 100px }'), 0")  # so that a table can be moved
        browser.value("document.querySelector('details').open = true; scrollTo(0, 700)")
        browser.value("document.querySelector('.wide').scrollLeft = 30")
        place, before = browser.value("scrollY"), browser.value(DIGESTS)
        assert place > 600
        add(run, 6)
        browser.until(has_steps(6))
        assert browser.value("scrollY") == place and browser.value("document.querySelector('details').open")
        assert browser.value("document.querySelector('.wide').scrollLeft") == 30
        same = [old == new for old, new in zip(before, browser.value(DIGESTS), strict=True)]
        assert same == [True, False, True, False, True, True, True, True, True]  # the table and the curves are new


def test_a_section_that_is_being_copied_from_waits(browser: Browser, run: Path) -> None:
    with watching(run) as found:
        browser.open(found.address, 1200)
        browser.value("getSelection().selectAllChildren(document.querySelector('main table'))")
        selected = browser.value("getSelection().toString()")
        before = browser.value(CURVE)
        add(run, 6)
        browser.until(f"{CURVE} !== {before}")
        assert "5 of 100" in selected and browser.value("getSelection().toString()") == selected
        browser.value("getSelection().removeAllRanges()")
        browser.until(has_steps(6))


def test_what_becomes_of_the_run_is_said(browser: Browser, run: Path) -> None:
    state = "document.querySelector('#states p')"
    with watching(run) as found:
        browser.open(found.address, 390)
        os.utime(run / "metrics.jsonl", (0, 0))
        os.utime(run / "lock", (0, 0))
        browser.until(f"{state}.className === 'state silent' && {state}.textContent.includes('seems to hang')")
        add(run, *range(6, 12), n_steps=12)
        browser.until(f"{state}.className === 'state on'")
        (run / "lock").unlink()
        browser.until(f"{state}.className === 'state stopped'")
        add(run, 12, n_steps=12)
        browser.until(f"{state}.className === 'state ended' && {state}.textContent.includes('all steps are made')")


def test_a_server_that_has_gone_is_missed_and_what_was_seen_stays(browser: Browser, run: Path, tmp_path: Path) -> None:
    notice = "document.querySelector('#notice')"
    with watching(run) as found:
        browser.open(found.address, 390)
        assert browser.value(f"{notice}.hidden")
        run.rename(tmp_path / "away")
        browser.until(f"!{notice}.hidden && {notice}.textContent.includes('there is no folder')")
        (tmp_path / "away").rename(run)
        browser.until(f"{notice}.hidden")
        found.process.kill()
        browser.until(f"!{notice}.hidden && {notice}.textContent.includes('cllm watch does not answer any more')")
        assert browser.value(has_steps(5))


def test_no_script_but_its_own_runs(browser: Browser, run: Path) -> None:
    """Nor is anything asked of another host, should a text ever become markup."""
    with watching(run) as found:
        browser.open(found.address, 390)
        browser.value(f"document.querySelector('main').insertAdjacentHTML('beforeend', {WILD!r})")
        browser.value("document.querySelector('main b').click()")
        browser.value("document.body.append(Object.assign(document.createElement('script'), {text: 'mine = 2'}))")
        assert browser.value("fetch('http://127.0.0.1:9/').then(() => 'sent', (e) => e.name)") == "TypeError"
        assert browser.value("window.mine") is None


def test_another_page_neither_reads_it_nor_shows_it_in_a_frame(browser: Browser, run: Path, tmp_path: Path) -> None:
    with watching(run) as found:
        (tmp_path / "other.html").write_text(f'<!doctype html><iframe src="{found.address}"></iframe>')
        browser.open((tmp_path / "other.html").as_uri(), 390)
        assert browser.value(f"fetch({found.address!r}).then(() => 'read', (e) => e.name)") == "TypeError"
        browser.turn_to("iframe")
        shown = browser.until("document.readyState === 'complete' && document.body.textContent")
        browser.turn_to("page")
        assert "refused to connect" in shown and "5 of 100" not in shown
