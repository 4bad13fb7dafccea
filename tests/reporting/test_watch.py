"""`cllm watch`: what it says of a run as that goes on, that it leaves the run alone, and how it begins and ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from cllm import env
from cllm.cli import main, watch
from cllm.hooks.manager import build_manager
from cllm.jsonl import line_of
from cllm.reporting import live
from cllm.reporting.page import sections
from tests.hooks.values import a_report
from tests.reporting.watching import Watch, watching
from tests.runs import config, digest_of, train


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    train(config(folder), folder / "one")
    return folder / "one"


def add(run: Path, *steps: int, torn: bytes = b"") -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"".join(line_of(vars(a_report(step=step))).encode() + b"\n" for step in steps) + torn)


def news(found: Watch, version: int) -> dict[str, Any]:
    """What is told as soon as there is a newer version."""
    end = monotonic() + 60
    while (view := found.now(version))["version"] == version:
        assert monotonic() < end, "no news"
        sleep(0.05)
    return view


def test_what_a_run_adds_is_told_and_a_torn_line_is_not(ended: Path, tmp_path: Path) -> None:
    shutil.copytree(ended, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    with watching(tmp_path / "run") as found:
        first = found.now()
        assert "No step is reported" in first["sections"][2]["html"] and "<figure>" not in first["sections"][3]["html"]
        add(tmp_path / "run", 1, 2, torn=b'{"step": 3, "n_')
        second = news(found, first["version"])
        assert "2 of 100" in second["sections"][1]["html"] and "<figure>" in second["sections"][3]["html"]
        same = [old["digest"] == new["digest"] for old, new in zip(first["sections"], second["sections"], strict=True)]
        assert same == [True, False, False, False, True, True, True, True, True]
        assert "stands at step 2 of 12: no process trains there" in second["states"]
        shutil.copy(ended / "metrics.jsonl", tmp_path / "other")
        (tmp_path / "other").rename(tmp_path / "run" / "metrics.jsonl")
        assert "12 of 12" in news(found, second["version"])["sections"][1]["html"]


def test_it_draws_only_what_is_new_and_rests_in_between(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of its own, by which every drawing takes a second."""
    shutil.copytree(ended, tmp_path / "run")
    clock, drawn = [100.0], []

    def slow(runs: Any) -> list[str]:
        clock[0] += 1.0
        drawn.append(runs[0].history.steps[-1])
        return sections(runs)

    monkeypatch.setattr(live, "monotonic", lambda: clock[0])
    monkeypatch.setattr(live, "sections", slow)
    watched = live.Live([(tmp_path / "run", build_manager())])
    for passed in (0.0, 30.0):
        clock[0] += passed
        assert watched.view().version == 1
    assert drawn == [12]
    add(tmp_path / "run", 13)
    assert watched.view().version == 2 and drawn == [12, 13]
    add(tmp_path / "run", 14)
    clock[0] += 0.9 * live.REST
    assert watched.view().version == 2
    clock[0] += 0.2 * live.REST
    assert watched.view().version == 3 and drawn == [12, 13, 14]


def test_several_runs_and_one_that_vanishes_for_a_while(ended: Path, tmp_path: Path) -> None:
    shutil.copytree(ended, tmp_path / "two")
    with watching(ended, tmp_path / "two") as found:
        first = found.now()
        assert first["title"] == "2 runs: one, two" and first["states"].count("has ended") == 2
        (tmp_path / "two").rename(tmp_path / "away")
        end = monotonic() + 60
        while not (view := found.now(first["version"]))["problem"]:
            assert monotonic() < end
            sleep(0.05)
        assert f"there is no folder {tmp_path / 'two'}; expected the folder of a run" in view["problem"]
        assert (view["states"], view["sections"]) == ("", [])  # what was seen stays
        (tmp_path / "away").rename(tmp_path / "two")
        assert news(found, first["version"])["problem"] == ""


def test_a_folder_whose_name_is_no_unicode_and_one_that_would_be_markup(ended: Path, tmp_path: Path) -> None:
    wild, odd = tmp_path / "<script>alert(1)<", tmp_path / "caf\udce9"
    for path in (wild, odd):
        shutil.copytree(ended, path)
    with watching(wild, odd) as found:
        answer, text = found.ask(f"/?token={found.token}")
        assert answer.status == 200 and "caf?" in text and text.count("<script") == 1
        assert "<script" not in "".join(one["html"] for one in found.now()["sections"]) + found.now()["states"]


def test_it_changes_nothing_in_the_folder_of_a_run(ended: Path, tmp_path: Path) -> None:
    shutil.copytree(ended, tmp_path / "run")

    def files() -> dict[str, tuple[int, int, int, int]]:
        found = {str(path): path.stat() for path in (tmp_path / "run", *(tmp_path / "run").rglob("*"))}
        return {name: (at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in found.items()}

    before = files()
    with watching(tmp_path / "run") as found:
        found.ask(f"/?token={found.token}")
        found.now()
        opened = {os.readlink(entry) for entry in Path(f"/proc/{found.process.pid}/fd").iterdir()}
        assert not [name for name in opened if str(tmp_path) in name]
    assert files() == before


def test_ctrl_c_ends_it_without_a_word(ended: Path) -> None:
    with watching(ended) as found:
        found.now()
        found.process.send_signal(signal.SIGINT)
        assert found.process.wait(timeout=60) == 0
        assert found.process.stdout is not None and found.process.stderr is not None
        assert found.process.stdout.read() == "Ctrl-C ends this page, and no run\n"
        assert found.process.stderr.read() == ""


TRAINED = """
import sys
from pathlib import Path
from cllm import Trainer
from tests.runs import config
with Trainer(config(Path(sys.argv[1]), *sys.argv[3:]), sys.argv[2]) as trainer:
    for report in trainer:
        if report.step in (5, 15):
            print(report.step, flush=True)
            sys.stdin.readline()
"""


def test_a_run_whose_watch_is_killed_comes_to_the_digest_of_one_undisturbed(tmp_path: Path) -> None:
    """It waits after step 5 until that has been seen, and after step 15 until whoever watched it is dead."""
    steps, run = "train.steps=40", tmp_path / "run"
    train(config(tmp_path, steps), tmp_path / "undisturbed")
    with subprocess.Popen(
        [sys.executable, "-c", TRAINED, str(tmp_path), str(run), steps], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parents[2])])},
    ) as trained:
        assert trained.stdin is not None and trained.stdout is not None
        assert trained.stdout.readline() == b"5\n"
        with watching(run) as found:
            view = found.now()
            assert "The run goes on" in view["states"] and "5 of 40" in view["sections"][1]["html"]
            trained.stdin.write(b"\n")
            trained.stdin.flush()
            while "15 of 40" not in view["sections"][1]["html"]:
                view = news(found, view["version"])
            found.process.kill()
            found.process.wait()
        trained.stdin.write(b"\n")
        trained.stdin.close()
        assert trained.wait(timeout=100) == 0
    assert digest_of(run) == digest_of(tmp_path / "undisturbed")
    assert (run / "ledger.jsonl").read_bytes() == (tmp_path / "undisturbed" / "ledger.jsonl").read_bytes()


def test_what_cannot_be_watched_is_explained(
    ended: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for path, told in ((tmp_path / "empty", "has no config.toml"), (tmp_path / "absent", "there is no folder")):
        assert main(["watch", str(ended), str(path)]) == 1
        assert f"{told}" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["watch", str(ended), "--port", str(port)]) == 2
    assert capsys.readouterr().err.strip() == (
        f"cllm: watch: port {port}: Address already in use; expected a port of 127.0.0.1 that this process may listen "
        "on; leave --port out, or choose another, or end what listens there"
    )
    for port in ("0", "65536", "x"):
        with pytest.raises(SystemExit):
            main(["watch", str(ended), "--port", port])
        assert "a whole number, 1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "on_terminal", "display", "opens"),
    [([], True, True, True), (["--no-browser"], True, True, False), ([], False, True, False), ([], True, False, False)],
)
def test_when_a_browser_is_opened(
    words: list[str], on_terminal: bool, display: bool, opens: bool, ended: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[str] = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(env.sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    monkeypatch.setattr(watch.webbrowser, "open", opened.append)
    monkeypatch.setattr(watch.os, "nice", lambda n: 0)
    monkeypatch.setattr(watch.Server, "serve_forever", lambda server: None)
    assert main(["watch", str(ended), *words]) == 0
    assert bool(opened) == opens
    address = capsys.readouterr().out.splitlines()[0].removeprefix("watch: ")
    assert opened == [address] * opens
