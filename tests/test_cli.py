"""The command line as a user types it: output, exit codes, messages."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cllm.cli import COMMANDS, main
from tests.runs import TEXT


def cllm(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from cllm.cli import main; sys.exit(main())", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment},
    )


SMALL = [
    "--set", "train.steps=4", "--set", "model.n_embd=16", "--set", "model.block_size=16", "--set", "model.n_layer=1",
    "--set", "train.batch_size=4", "--set", "schedule.warmup_steps=0",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which book.txt was trained on twice, with different threads."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "book.txt").write_text(TEXT)
    for threads in ("1", "3"):
        done = cllm("train", "--data", "book.txt", "--preset", "tiny", "--threads", threads, *SMALL, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "Run folder: runs/book-" in done.stdout
    return folder


def test_digests_of_two_thread_counts_are_one(runs: Path) -> None:
    first, second = (cllm("digest", f"runs/book-{n}", cwd=runs) for n in (1, 2))
    assert first.stdout == second.stdout
    assert len(first.stdout.strip()) == 64 and int(first.stdout, 16) >= 0
    same = cllm("diff", "runs/book-1", "runs/book-2", cwd=runs)
    assert (same.returncode, same.stdout) == (0, "the same digest at the only step compared, step 4\n")


def test_diff_names_the_first_step_that_differs(runs: Path) -> None:
    other = cllm("train", "--data", "book.txt", *SMALL, "--set", "train.seed=2", "--out", "other", cwd=runs)
    assert other.returncode == 0, other.stderr
    found = cllm("diff", "runs/book-1", "other", cwd=runs)
    assert (found.returncode, "step 4" in found.stdout) == (1, True)


def test_diff_counts_the_steps_that_it_compared(runs: Path) -> None:
    for out in ("often-1", "often-2"):
        words = ["--data", "book.txt", *SMALL, "--set", "train.digest_every=2", "--out", out]
        assert cllm("train", *words, cwd=runs).returncode == 0
    same = cllm("diff", "often-1", "often-2", cwd=runs)
    assert (same.returncode, same.stdout) == (0, "the same digests at all 2 steps compared, up to step 4\n")


def test_generate_eval_and_their_json(runs: Path) -> None:
    text = cllm("generate", "runs/book-1", "The ", "--tokens", "20", "--seed", "3", cwd=runs)
    assert text.stdout.startswith("The ") and len(text.stdout) > 10
    measured = json.loads(cllm("eval", "runs/book-1", "--json", cwd=runs).stdout)
    assert measured["loss"] > 0 and measured["bits_per_byte"] == pytest.approx(measured["loss"] / 0.6931471805599453)


def test_dry_run_prints_sizes_and_makes_nothing(runs: Path) -> None:
    before = sorted(os.listdir(runs / "runs"))
    shown = cllm("train", "--data", "book.txt", "--dry-run", *SMALL, cwd=runs)
    assert shown.returncode == 0, shown.stderr
    for word in ("parameters:", "shards:", "memory:", "flops per token:", "n_embd = 16"):
        assert word in shown.stdout
    assert sorted(os.listdir(runs / "runs")) == before


def test_resuming_a_finished_run_is_done(runs: Path) -> None:
    again = cllm("train", "--resume", "runs/book-1", cwd=runs)
    assert (again.returncode, "is finished" in again.stdout) == (0, True)


def test_wrong_usage_is_2_and_says_what_to_do(runs: Path) -> None:
    for words in (
        ["train"], ["train", "--data", "book.txt", "--set", "train.stepz=3"],
        ["train", "--data", "book.txt", "--set", "model.n_embd=130"], ["train", "--data", "book.txt", "--threads", "0"],
        ["nonsense"], ["doctor", "--assert", "colour=red"],
    ):
        failed = cllm(*words, cwd=runs)
        assert failed.returncode == 2, (words, failed.stderr)
        assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("option", "command", "refused"),
    [
        ("--threads", ["train", "--data", "book.txt"], ["0", "-1", "two", "1.5", "1_0", "100000"]),
        ("--threads", ["eval", "runs/book-1"], ["0", "-1", "two", "100000"]),
        ("--tokens", ["generate", "runs/book-1"], ["-5", "many", "1e3"]),
        ("--temperature", ["generate", "runs/book-1"], ["-0.1", "nan", "inf", "warm"]),
        ("--top-k", ["generate", "runs/book-1"], ["0", "-1"]),
        ("--top-p", ["generate", "runs/book-1"], ["0", "1.1", "nan"]),
        ("--seed", ["generate", "runs/book-1"], ["-1", str(2**32), "9" * 5000]),
        ("--validation", ["prepare", "text", "book.txt", "--out", "x"], ["1", "-0.1", "nan"]),
    ],
)
def test_numbers_out_of_range_are_refused_at_the_door(
    option: str, command: list[str], refused: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in refused:
        with pytest.raises(SystemExit) as ended:
            main([*command, option, number])
        assert ended.value.code == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert f"argument {option}: {number!r}; expected a " in message and "correct it" in message


def test_no_option_takes_a_number_without_a_range() -> None:
    for name, _ in COMMANDS:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"cllm.cli.{name}").add_arguments(parser)
        assert not [action.dest for action in parser._actions if action.type in (int, float)], name


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "missing.txt"], ["digest", "nowhere"], ["generate", "nowhere"],
        ["prepare", "squad", "book.txt", "--out", "x"], ["train", "--resume", "nowhere"],
    ],
)
def test_failures_are_1_and_leave_nothing(words: list[str], runs: Path) -> None:
    before = sorted(path.name for path in runs.rglob("*"))
    failed = cllm(*words, cwd=runs)
    assert failed.returncode in (1, 2) and failed.stderr.startswith("cllm: ")
    assert "Traceback" not in failed.stderr
    assert sorted(path.name for path in runs.rglob("*")) == before


def test_memory_that_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def take_all(_: argparse.Namespace) -> int:
        return len(bytearray(sys.maxsize))

    monkeypatch.setattr("cllm.cli.doctor.run", take_all)
    assert main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cllm: memory: the system refused it") and error.count("\n") == 1


def test_help_of_every_command_has_an_example(runs: Path) -> None:
    for name, _ in COMMANDS:
        shown = cllm(name, "--help", cwd=runs)
        assert shown.returncode == 0 and "example" in shown.stdout


def test_doctor_asserts(runs: Path) -> None:
    facts = json.loads(cllm("doctor", "--json", cwd=runs).stdout)
    assert facts["numerics"] == 1
    assert cllm("doctor", "--assert", f"isa={facts['isa']}", cwd=runs).returncode == 0
    assert cllm("doctor", "--assert", "isa=none", cwd=runs).returncode == 1


def test_plugins_are_listed(runs: Path) -> None:
    rows = json.loads(cllm("plugins", "list", "--json", cwd=runs).stdout)
    assert {"reducer tree", "reducer ordered", "check spike", "dataset squad"} <= set(rows[0]["provides"])


@pytest.mark.parametrize("name", ["spike", "check spike"])
def test_a_part_is_shown_with_its_plugin(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", name]) == 0
    plugin, part = capsys.readouterr().out.splitlines()
    assert plugin.startswith("builtin ") and part == "    check spike"


def test_a_plugin_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "builtin"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "spkie"], "nothing is called 'spkie'; .* did you mean \"spike\"?"),
        (["show", "quux", "--json"], "nothing is called 'quux'; .* choose one of these"),
        (["show"], "show without a name"),
        (["list", "spike"], "list with 'spike'"),
    ],
)
def test_a_name_that_shows_nothing_is_wrong_usage(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugins", *words]) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err) and not printed.out


def test_debug_levels_print_to_stderr(runs: Path) -> None:
    shown = cllm("train", "--data", "book.txt", *SMALL, "--out", "debugged", cwd=runs, CLLM_DEBUG="3")
    assert shown.returncode == 0, shown.stderr
    for text in ("debug: batch 0: shards", "|d transformer.wte.weight| =", "tensors agree with the reference"):
        assert text in shown.stderr
    assert cllm("digest", "debugged", cwd=runs).stdout == cllm("digest", "runs/book-1", cwd=runs).stdout
