"""How commands end that cannot do their work: one line on standard error, and an exit code that the help explains."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cllm import kernels
from cllm.cli import COMMANDS, OTHER_BITS, main
from cllm.errors import InstabilityAbort, UsageError
from tests.test_cli import cllm

PROGRAM = [sys.executable, "-c", "import sys; from cllm.cli import main; sys.exit(main())"]


def one_line(text: str) -> str:
    """The message, where it is all that was printed."""
    (line,) = text.splitlines()
    assert line.startswith("cllm: ")
    return line


@pytest.mark.parametrize("command", [name for name, _ in COMMANDS])
@pytest.mark.parametrize(
    ("name", "value"), [("CLLM_ISA", "foo"), ("CLLM_DEBUG", "9"), ("CLLM_THREADS", "x"), ("CLLM_TRACE_PLUGINS", "2")]
)
def test_a_bad_switch_is_wrong_usage_of_every_command(
    command: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main([command]) == 2
    assert f"environment: {name} = {value!r}; expected " in one_line(capsys.readouterr().err)


def test_a_bad_switch_is_met_before_the_kernels_are_loaded(tmp_path: Path) -> None:
    failed = cllm("doctor", cwd=tmp_path, CLLM_ISA="foo")
    assert failed.returncode == 2
    assert "CLLM_ISA = 'foo'" in one_line(failed.stderr)


def test_an_instruction_set_that_the_machine_lacks_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.cpu, "instruction_sets", lambda: ["portable"])
    monkeypatch.setenv("CLLM_ISA", "v4")
    with pytest.raises(UsageError, match="CLLM_ISA: v4; expected one that this machine runs: portable; unset"):
        kernels.choose_instruction_set()


def test_a_misspelt_command_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    message = one_line(capsys.readouterr().err)
    assert "there is no 'trian'; expected one of train, generate" in message
    assert 'did you mean "train"?' in message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("generate run --prompt x", "generate: no option --prompt; expected cllm generate RUN [prompt], and the "),
        ("generate run --prompt x", "; leave --prompt out: prompt is known by its place, and has no name before it"),
        ("generate --prmpt=x run", "; leave --prmpt out: prompt is known by its place"),
        ("diff one two --run three", "expected cllm diff RUN RUN, and the options in `cllm diff --help`; leave --run"),
        ("train --dta book.txt", 'train: no option --dta; expected cllm train [config], and the options in `cllm'),
        ("train --dta book.txt", '; did you mean "--data"?'),
        ("generate run -x", "generate: no option -x; "),
        ("generate run -x", "; put -- before a word that begins with - and is no option"),
        ("generate run Once upon a time", "generate: 3 words too many: upon a time; expected "),
        ("generate run Once upon", "1 word too many: upon; "),
        ("generate run Once upon", "or put text with blanks in quotation marks"),
        ("--demo", "command: no option --demo; expected cllm COMMAND, and the options in `cllm --help`; name a"),
        ("--versoin", 'did you mean "--version"?'),
    ],
)
def test_words_that_a_command_does_not_take(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert said in one_line(capsys.readouterr().err)


def test_behind_two_dashes_a_prompt_may_begin_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "run", "--", "--prompt"]) == 1
    assert "there is no folder run" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_the_help_explains_every_exit_code(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    listed = capsys.readouterr().out.partition("exit codes:")[2]
    codes = [int(code) for code in re.findall(r"\d+", listed)]
    assert codes == [0, 1, 2, OTHER_BITS, InstabilityAbort.exit_code, 130, 143]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
@pytest.mark.parametrize(("words", "unbuffered"), [(["doctor"], ""), (["doctor"], "1"), (["--help"], "")])
def test_output_that_cannot_be_written_is_a_failure_in_one_line(words: list[str], unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        failed = subprocess.run(
            [*PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert failed.returncode == 1
    assert "standard output: No space left on device; expected a disk with room" in one_line(failed.stderr)


@pytest.mark.skipif(os.name != "posix", reason="pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_ends_a_command_quietly(unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [*PROGRAM, "doctor"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_an_interrupt_while_modules_are_imported_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    try:
        code = main(["doctor"])
    except KeyboardInterrupt:  # would end the tests
        pytest.fail("it came through")
    assert code == 130
    assert one_line(capsys.readouterr().err) == "cllm: interrupted"


@pytest.mark.parametrize("words", [["train", "--demo"], ["prepare", "pydoc"]])
def test_an_empty_out_is_not_the_folder_here(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", ""])
    assert ended.value.code == 2
    assert "argument --out: ''; expected some text" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
