"""What there is to see of runs by now: read again as far as their files have changed, and not too often."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from threading import Lock
from time import monotonic, time

from cllm.errors import CllmError
from cllm.hooks.plugins import Plugins
from cllm.reporting.charts import key
from cllm.reporting.following import Follower
from cllm.reporting.page import sections, title_of
from cllm.reporting.runs import Run, labels_of, look_at
from cllm.reporting.state import State, state_of

REST = 20.0  # times as long as it took to draw, nothing is drawn again: a twentieth of a core for all readers together
READ = ("config.toml", "metrics.jsonl")


@dataclass(frozen=True)
class Section:
    """A part of the page as HTML, and a short digest of it, by which a browser knows whether it has it."""

    digest: str
    html: str


@dataclass(frozen=True)
class View:
    """What a browser shows."""

    version: int  # of the sections; they are drawn again where files have changed
    title: str
    states: str  # HTML: what each run is doing at this moment
    problem: str  # why the runs cannot be read now, or nothing
    sections: tuple[Section, ...]


class Live:
    """Runs, looked at whenever somebody asks. It only reads, takes no lock, and holds no file open in between."""

    def __init__(self, runs: Sequence[tuple[Path, Plugins]]) -> None:
        """The runs with the plugins that size their models. RunFolderError and ConfigError as `look_at`'s."""
        self._places = [(path, plugins, Follower(path / "metrics.jsonl")) for path, plugins in runs]
        self._labels = labels_of([path for path, _ in runs])
        self._title = title_of([path for path, _ in runs])
        self._lock = Lock()  # one thread reads and draws, others wait for what it has seen
        self._version, self._problem = 0, ""
        self._seen: list[tuple[int, ...]] | None = None
        self._next = 0.0  # before which nothing is drawn again
        self._draw()

    def view(self) -> View:
        """As things are now; the sections perhaps as they were a moment ago."""
        with self._lock:
            if monotonic() >= self._next and self._seen != self._stamps():
                try:
                    self._draw()
                except CllmError as error:
                    self._seen, self._problem = None, str(error)
            states = "" if self._problem else self._states()
            return View(self._version, self._title, states, self._problem, self._sections)

    def _draw(self) -> None:
        begin = monotonic()
        try:
            stamps = self._stamps()  # before the files are read: what changes meanwhile is read next time
            self._runs = [look_at(*place) for place in self._places]
            self._sections = tuple(map(_section, sections(self._runs)))
            self._seen, self._problem, self._version = stamps, "", self._version + 1
        finally:
            self._next = monotonic() + REST * (monotonic() - begin)

    def _stamps(self) -> list[tuple[int, ...]]:
        return [_stamp(path / name) for path, _, _ in self._places for name in READ]

    def _states(self) -> str:
        now = time()
        shown = zip(self._runs, self._labels, strict=True)
        return "".join(self._state(run, state_of(run, now), label, n) for n, (run, label) in enumerate(shown))

    def _state(self, run: Run, state: State, label: str, number: int) -> str:
        who = key(label, number) if len(self._runs) > 1 else "The run"
        return f'<p class="state {state.kind}">{who} {escape(state.text)}</p>'


def _section(html: str) -> Section:
    return Section(hashlib.blake2b(html.encode(errors="replace"), digest_size=8).hexdigest(), html)


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs from before where the file has changed."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
