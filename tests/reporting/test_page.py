"""`cllm report`: one page about runs as they are on the disk, which needs nothing else and believes no file."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cllm.cli import main
from cllm.errors import ConfigError
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from cllm.jsonl import line_of
from cllm.reporting import look_at, page
from cllm.runfolder import RunFolder
from tests.hooks.values import a_report
from tests.runs import config, train

WILD = "<script>alert('x')</script>&\"<b>"
VOID = {"meta", "br"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `one`, `two`, which has another seed, and `spiky`, which skipped a step."""
    folder = tmp_path_factory.mktemp("report")
    train(config(folder), folder / "one")
    train(config(folder, "train.seed=7", "train.log_every=2"), folder / "two")
    train(config(folder, "checks.spike.threshold=0.01", "checks.spike.warmup=2"), folder / "spiky")
    return folder


class Whole(HTMLParser):
    """Fails for tags that do not fit each other, and for whatever a browser would have to fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object", "b") or (tag, attrs) == ("b", [])
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}
        self._open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def text_of(*paths: Path) -> str:
    """The page about these runs, which is whole."""
    plugins = build_manager()
    text = page([look_at(path, plugins) for path in paths])
    Whole(text)
    assert re.findall(r"https?://[^\"]*", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert "@import" not in text and "url(" not in text
    return text


def test_one_run(runs: Path) -> None:
    text = text_of(runs / "one")
    for shown in ("<h1>one</h1>", "12 of 12", 'name="viewport"', "prefers-color-scheme", "<title>one</title>"):
        assert shown in text
    assert text.count("<figure>") == 6 and text.count("viewBox") == text.count("<svg")
    assert "In what the configs differ" not in text and "What checks decided" not in text
    parameters = next(row for row in re.findall(r"<tr>.*?</tr>", text) if "parameters" in row)
    assert f"{look_at(runs / 'one', build_manager()).n_parameters:,}" in parameters


def test_several_runs_in_one_plot_and_in_what_they_differ(runs: Path) -> None:
    text = text_of(runs / "one", runs / "two")
    assert "<title>2 runs: one, two</title>" in text
    loss = re.findall(r"<figure>.*?</figure>", text)[0]
    assert set(re.findall(r'<path class="\w+ (c\d) d0" d="M[\d.]+,[\d.]+L', loss)) == {"c0", "c1"}
    differing = text.partition("In what the configs differ")[2].partition("</table>")[0]
    assert "<b>train.seed</b>" in differing and "<td>train.log_every</td>" in differing and "<td>7</td>" in differing
    assert "batch_size" not in differing


def test_runs_with_one_config_differ_in_nothing_and_are_named_by_their_paths(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "one")
    text = text_of(runs / "one", tmp_path / "one")
    assert "<p>In nothing.</p>" in text and f"{tmp_path / 'one'}" in text


def test_metrics_have_a_figure_each_for_all_runs(runs: Path, tmp_path: Path) -> None:
    for name, label in (("a", "similar"), ("b", "similar"), ("c", WILD)):
        shutil.copytree(runs / "one", tmp_path / name)
        with (tmp_path / name / "metrics.jsonl").open("a") as file:
            file.writelines(line_of(vars(a_report(step=step, metrics={label: 0.1 * step}))) + "\n" for step in (13, 14))
    text = text_of(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    figures = re.findall(r"<figure>.*?</figure>", text)
    assert len(figures) == 8 and WILD not in text
    assert [set(re.findall(r'<path class="thick (c\d) d0" d="M[\d.]+,[\d.]+L', one)) for one in figures[6:]] == [
        {"c2"}, {"c0", "c1"}
    ]


def test_what_checks_decided_is_marked_and_told(runs: Path) -> None:
    text = text_of(runs / "spiky")
    assert re.search(r'<g class="mark c0 d0"><title>(\d+ skips|skip at)', text)
    told = text.partition("What checks decided")[2]
    assert "In the pictures: S skip." in told and "spike: " in told and "skip" in re.findall("<td>(.*?)</td>", told)


def test_many_decisions_are_counted(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        for step in range(12, 312):
            file.write(line_of(vars(a_report(step=step, decision="skip", reasons=("x: y",)))) + "\n")
    text = text_of(tmp_path / "run")
    assert "And 200 decisions more" in text and "300 skip" in text


def test_a_run_that_goes_on_and_one_that_has_not_begun(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    assert "3 of 12" in text_of(tmp_path / "run")
    metrics.unlink()
    text = text_of(tmp_path / "run", runs / "two")
    assert "0 of 12" in text and "No step is reported in metrics.jsonl of run" in text
    assert "<figure>" not in text_of(tmp_path / "run")


def test_nothing_that_files_say_becomes_markup(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / WILD.replace("/", "")
    shutil.copytree(runs / "one", path)
    with (path / "metrics.jsonl").open("a") as file:
        file.write(line_of(vars(a_report(step=12, decision=WILD, reasons=(WILD,)))) + "\n")
    for text in (text_of(path), text_of(path, runs / "one")):
        assert "<script" not in text and text.count("&lt;script") > 8


def test_a_model_that_is_not_installed_here_hides_only_its_size(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ConfigError("model", "there is none of this name", "another", "install it")

    monkeypatch.setattr(Plugins, "factory", missing)
    run = look_at(runs / "one", build_manager())
    assert (run.n_parameters, run.memory, run.history.steps[-1]) == (None, None, 12)
    Whole(page([run]))


def test_a_config_of_a_version_with_fewer_options(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "run")
    path = tmp_path / "run" / "config.toml"
    lines = [line for line in path.read_text().splitlines()[1:] if not line.startswith(("bias", "layernorm"))]
    RunFolder(tmp_path / "run", None).write_config("\n".join(lines))
    older, whole = (look_at(path, build_manager()) for path in (tmp_path / "run", runs / "one"))
    assert (older.n_parameters, older.memory) == (whole.n_parameters, whole.memory)


def test_the_command_writes_where_it_says(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two, own = str(runs / "one"), str(runs / "two"), str(tmp_path / "own.html")
    for words, written in (([one], f"{one}/report.html"), ([one, two], "report.html"), ([one, "--out", own], own)):
        assert main(["report", *words]) == 0
        assert capsys.readouterr().out == f"report: {written}\n"
        assert Path(written).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["verify", one]) == 0  # the page in it makes a run no less sound


def test_a_folder_whose_name_is_no_unicode(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9"
    shutil.copytree(runs / "one", path)
    assert main(["report", str(path)]) == 0
    assert "<h1>caf?</h1>" in (path / "report.html").read_text(encoding="utf-8")


def test_what_is_no_run_is_explained(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for path, told in ((tmp_path / "empty", "has no config.toml"), (tmp_path / "absent", "there is no folder")):
        assert main(["report", str(runs / "one"), str(path)]) == 1
        assert re.search(rf"cllm: \w+ ?\w*: .*{told}.*expected the folder of a run", capsys.readouterr().err)
    assert not list(tmp_path.glob("*.html"))
    assert main(["report", str(runs / "one"), "--out", str(tmp_path / "absent" / "x.html")]) == 1
    assert "cllm: report: cannot use" in capsys.readouterr().err
