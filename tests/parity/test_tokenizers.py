"""transformers reads the tokenizer of a checkpoint, and makes the ids of cllm and its texts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from cllm.data.tokenizerfile import load_tokenizer
from cllm.runfolder import RunFolder
from tests.data.helpers import MANY_SCRIPTS
from tests.runs import config, train

pytestmark = pytest.mark.torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other projects' imports
    transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=["byte", "char", "bpe"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run on a text with every character of MANY_SCRIPTS."""
    folder = tmp_path_factory.mktemp(request.param)
    # A zero byte makes a file binary; in a prompt it is a character like any other, but none that char knows.
    (folder / "scripts.txt").write_text(MANY_SCRIPTS.replace("\0", "") * 20, newline="")
    data = [f"data.path={folder / 'scripts.txt'}", f"data.tokenizer={request.param}"]
    train(config(folder, *data, "train.steps=1", "schedule.warmup_steps=0"), folder / "run")
    (checkpoint,) = (RunFolder.open(folder / "run").checkpoints).iterdir()
    return checkpoint


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_ids_and_texts_are_the_same(folder: Path, theirs: Any) -> None:
    ours = load_tokenizer(folder / "tokenizer.json")
    text = MANY_SCRIPTS.replace("\0", "") if ours.name == "char" else MANY_SCRIPTS
    ids = ours.encode(text).tolist()
    assert theirs(text)["input_ids"] == theirs.encode(text) == ids
    assert theirs.decode(ids) == ours.decode(ids) == text


def test_no_token_is_added(folder: Path, theirs: Any) -> None:
    assert len(theirs) == load_tokenizer(folder / "tokenizer.json").vocab_size
    assert theirs.all_special_tokens == [] and theirs.model_max_length == 16
