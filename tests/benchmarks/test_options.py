"""What the commands of benchmarks/ understand, and what they refuse with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import compare, generation


def test_without_options_it_is_cllm_and_eager_pytorch_on_s() -> None:
    options = compare.parse([])
    assert (options.config, options.peers, options.threads) == (("S",), ("eager",), 2)
    assert (options.llmc, options.json, options.markdown) == (None, None, False)


def test_lists_have_commas_and_every_name_once() -> None:
    options = compare.parse(["--config", "XS, M,XS", "--peers", "jax,llmc,compile-bf16", "--llmc", "llm.c"])
    assert (options.config, options.peers) == (("XS", "M"), ("jax", "llmc", "compile-bf16"))
    assert options.llmc == Path("llm.c")
    assert compare.parse(["--peers", "none"]).peers == ()
    assert generation.parse(["--threads", "1,2,2"]).threads == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "XL"], "'XL' is none of XS, S, M, L64, L256"),
        (["--peers", "eager,tensorflow"], "'tensorflow' is none of eager, compile"),
        (["--peers", ""], "'' is none of"),
        (["--runs", "4"], "at least 5 runs"),
        (["--threads", "0"], "1 thread"),
        (["--seconds", "nan"], "more than 0 seconds"),
    ],
)
def test_others_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.parse(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("threads", ["0", "1,x", "", "-1"])
def test_numbers_of_threads_are_whole_and_above_0(threads: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        generation.parse(["--threads", threads])
    assert "whole numbers above 0" in capsys.readouterr().err
