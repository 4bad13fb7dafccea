"""Several sources prepared as a mixture: each by itself, one tokenizer, opened with the weights that were given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cllm.cli import main
from cllm.config import DataConfig, MixturePart
from cllm.data.batches import Batches
from cllm.data.mixture import Mixture, deal
from cllm.data.prepare import Job, run_once
from cllm.data.source import OpenData, open_data
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.data.tokenstats import token_files
from cllm.errors import DataError, TokenFileError
from cllm.hooks.manager import build_manager
from cllm.verifying.data import look_at_prepared
from cllm.verifying.report import Report
from tests.data.helpers import KINDS, Texts

ONE, TWO, THREE = (Texts([f"{letter}{n} " * 20 for n in range(30)]) for letter in "abc")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    run_once(Job([ONE, TWO, THREE], CharTokenizer, weights=[3, 1, 1]), tmp_path / "mixed")
    return tmp_path / "mixed"


def opened(path: Path, **config: Any) -> OpenData:
    return open_data(DataConfig(path=str(path), **config), KINDS, path)


def test_it_opens_as_a_mixture_with_its_weights(mixed: Path) -> None:
    data = opened(mixed)
    assert isinstance(data.train, Mixture) and isinstance(data.validation, Mixture)
    assert data.train.places == deal([3, 1, 1], 3)
    assert data.tokenizer is not None and set("abc0123456789 ") == set(data.tokenizer.alphabet)  # type: ignore[attr-defined]
    for place, file in enumerate(data.train.parts):
        assert set(data.tokenizer.decode(file.tokens)) <= set("abc"[place] + "0123456789 ")
    batches = Batches(data.train, 8, 16, 1)
    texts = [data.tokenizer.decode(row) for index in range(512) for row in batches(index).inputs]
    assert sum("a" in text for text in texts) == deal([3, 1, 1], 3)[0]


def test_it_is_the_mixture_of_its_folders(mixed: Path) -> None:
    parts = [MixturePart(path=str(mixed / f"part-{n}"), weight=weight) for n, weight in ((1, 3), (2, 1), (3, 1))]
    by_config = open_data(DataConfig(mixture=parts), KINDS, mixed)
    found = opened(mixed)
    assert isinstance(by_config.train, Mixture) and isinstance(found.train, Mixture)
    assert by_config.train.places == found.train.places and by_config.digest == found.digest


def test_a_mixture_within_a_mixture_divides_its_weight(mixed: Path, tmp_path: Path) -> None:
    tokenizer = opened(mixed).tokenizer
    assert tokenizer is not None
    run_once(Job([Texts(["a1 b2 " * 50] * 9)], tokenizer), tmp_path / "alone")
    parts = [MixturePart(path=str(mixed), weight=1), MixturePart(path=str(tmp_path / "alone"), weight=1)]
    train = open_data(DataConfig(mixture=parts), KINDS, mixed).train
    assert isinstance(train, Mixture) and len(train.parts) == 4
    assert train.places[3] == 2048 and abs(train.places[0] - 2048 * 0.6) <= 1


def test_duplicates_are_looked_for_across_all(tmp_path: Path) -> None:
    texts = [Texts(["one", "two"]), Texts(["two", "three"]), Texts(["four", "one", "four"])]
    reports = run_once(Job(texts, ByteTokenizer, 0, dedup=True, weights=[1, 1, 1]), tmp_path / "out")
    assert [(report.n_documents, report.n_duplicates) for report in reports] == [(2, 0), (1, 1), (1, 2)]
    with pytest.raises(DataError, match="no text in part-2 that is not in an earlier one"):
        run_once(Job([texts[0], Texts(["one"])], ByteTokenizer, dedup=True, weights=[1, 1]), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("weights", [[1, 2], [1, 2, 0], [1, 2, -1], [1, 2, float("nan")], []])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="weights"):
        Job([ONE, TWO, THREE], ByteTokenizer, weights=weights)


@pytest.mark.parametrize("weights", ["3,1", "3,1,0", "3,1,x", "3,1,1,1", "", "nan,1,1"])
def test_so_they_are_on_the_command_line(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name * 99)
    words = ["prepare", "text", *(str(tmp_path / name) for name in "abc"), "--weights", weights]
    try:
        code = main([*words, "--out", str(tmp_path / "out")])
    except SystemExit as exit_:
        code = int(str(exit_.code))
    assert code == 2 and "weight" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_commands_know_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"some text of {name}. " * 200)
    out = tmp_path / "out"
    words = ["prepare", "text", str(tmp_path / "a"), str(tmp_path / "b"), "--weights", "3,1", "--out", str(out)]
    assert main([*words, "--json"]) == 0
    assert [part["n_documents"] for part in json.loads(capsys.readouterr().out)] == [1, 1]
    assert [str(path.relative_to(out)) for path in token_files(out)] == [
        f"part-{n}/{name}.tokens" for n in (1, 2) for name in ("train", "validation")
    ]
    assert main(["data", "show", str(out), "--samples", "0"]) == 0 == main(["verify", str(out)])
    assert "part-2/validation.tokens" in capsys.readouterr().out
    assert main(["train", "--data", str(out), "--dry-run", "--set", "model.block_size=16"]) == 0
    tokens = out / "part-2" / "train.tokens"
    tokens.write_bytes(tokens.read_bytes()[:-1])
    report = Report(out, "prepared data")
    look_at_prepared(report, out, build_manager())
    assert [problem.file for problem in report.problems] == ["part-2/train.tokens"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"version": 2, "parts": []}', b'{"version": 1, "parts": []}',
     b'{"version": 1, "parts": [{"folder": "../part-1", "weight": 1}]}',
     b'{"version": 1, "parts": [{"folder": "part-1", "weight": -1}]}', b'{"version": 1, "parts": "\xac"}'],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(mixed: Path, content: bytes) -> None:
    (mixed / "mixture.json").write_bytes(content)
    with pytest.raises(DataError):
        opened(mixed)


def test_a_part_that_is_gone_is_told(mixed: Path) -> None:
    (mixed / "part-2" / "train.tokens").unlink()
    with pytest.raises(TokenFileError, match="part-2"):
        opened(mixed)
