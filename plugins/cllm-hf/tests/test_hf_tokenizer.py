"""A tokenizer by its name on the Hub: from the cache, kept by what is made with it, and needed no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from cllm.cli import main
from cllm.data.tokenizerfile import load_tokenizer
from cllm.errors import TokenizerError
from hub import COMMIT, Hub

from cllm_hf.options import TokenizerConfig
from cllm_hf.tokenizer import HubTokenizer

NAME = "owner/model"
TEXT = "The square of the hypotenuse is the sum of the squares. Naïve, isn't it?\n" * 100
WORDPIECE = {"version": "1.0", "model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}}


@pytest.fixture(autouse=True)
def model(hub: Hub, folder: Path) -> Iterator[Hub]:
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    assert main(["tokenizer", "train", "text.txt", "--vocab-size", "300", "--out", "tokenizer.json"]) == 0
    wordpiece = json.dumps(WORDPIECE).encode()
    hub.repositories[f"models/{NAME}"] = {"tokenizer.json": Path("tokenizer.json").read_bytes()}
    hub.repositories["models/owner/other"] = {"tokenizer.json": wordpiece}
    hub.repositories["models/owner/none"] = {"README.md": b""}
    yield hub
    shutil.rmtree(huggingface_hub.constants.HF_HUB_CACHE, ignore_errors=True)


def prepare(out: str, *words: str, name: str = NAME) -> int:
    how = ["--tokenizer", "hf.tokenizer", "--tokenizer-set", f"name={name}"]
    return main(["prepare", "text", "text.txt", *how, *words, "--out", out])


def test_it_is_fetched_once_and_is_the_tokenizer_of_the_file(model: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare("none") == 1
    assert f"no tokenizer.json of {NAME} in the cache" in capsys.readouterr().err and not Path("none").exists()
    assert prepare("one", "--tokenizer-set", "online=true") == 0
    n_requests = len(model.requests)
    assert prepare("two") == prepare("three", "--tokenizer-set", f"revision={COMMIT}") == 0
    assert main(["prepare", "text", "text.txt", "--tokenizer", "tokenizer.json", "--out", "four"]) == 0
    for name in ("train.tokens", "validation.tokens", "tokenizer.json"):
        assert len({Path(out, name).read_bytes() for out in ("one", "two", "three", "four")}) == 1
    assert len(model.requests) == n_requests
    assert json.loads(Path("one/tokenizer.json").read_text()) == json.loads(Path("tokenizer.json").read_text())


RUN = """
name = "run"
[model]
preset = "tiny"
n_layer = 1
block_size = 16
[data]
loader = "text"
source = "text.txt"
tokenizer = "hf.tokenizer"
tokenizer_options = { name = "owner/model" }
[train]
steps = 2
batch_size = 4
eval_batches = 1
[schedule]
warmup_steps = 1
"""


def test_a_run_has_it_in_its_checkpoints_and_needs_the_cache_no_more() -> None:
    huggingface_hub.hf_hub_download(NAME, "tokenizer.json")
    Path("run.toml").write_text(RUN)
    assert main(["train", "run.toml"]) == 0
    shutil.rmtree(huggingface_hub.constants.HF_HUB_CACHE)
    assert main(["train", "--resume", "runs/run-1", "--set", "train.steps=4"]) == 0
    checkpoints = sorted(Path("runs/run-1/checkpoints").iterdir())
    wanted = load_tokenizer(Path("tokenizer.json")).digest()
    assert {load_tokenizer(one / "tokenizer.json").digest() for one in checkpoints} == {wanted}
    assert main(["generate", "runs/run-1", "The ", "--tokens", "5", "--no-plugins"]) == 0


@pytest.mark.parametrize(
    ("name", "came"),
    [
        ("owner/other", "a tokenizer of another kind; expected byte-level BPE"),
        ("owner/none", "owner/none: .*; expected a tokenizer.json on the Hub"),
        ("owner/nobody", "owner/nobody: .*; expected a tokenizer.json on the Hub"),
        ("./tokenizer.json", "name = './tokenizer.json'; expected a name on the Hub, as owner/name; .*by its path"),
    ],
)
def test_what_is_none_is_refused(name: str, came: str) -> None:
    with pytest.raises(TokenizerError, match=came):
        HubTokenizer(TokenizerConfig(name=name, online=True))
