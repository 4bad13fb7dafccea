"""Where PyTorch and transformers are installed: the fixtures are made anew, and transformers loads a checkpoint."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from cllm import checkpoint, kernels
from cllm.builtin.optimizers import AdamW, AdamWConfig
from cllm.checkpoint import RunFacts
from cllm.config import ModelConfig
from cllm.decoder import Decoder
from cllm.huggingface import model_config
from cllm.reference import Reference
from cllm.state import TrainState
from tests.models import shape
from tests.parity.cases import CASES, FIXTURES, batch, parameters, program

pytestmark = pytest.mark.torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other projects' imports
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")


def test_the_fixtures_are_what_pytorch_finds() -> None:
    from tests.parity.make_fixtures import fixtures

    stored, found = load_file(FIXTURES), fixtures()
    assert stored.keys() == found.keys()
    for name, tensor in found.items():
        assert stored[name].dtype == tensor.dtype, name
        assert np.linalg.norm(stored[name] - tensor) <= 1e-12 * np.linalg.norm(tensor), name


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    """A checkpoint of the case; its model was trained with dropout, which a loaded one must leave out."""
    model = program(name, dropout=0.3)
    flat = np.zeros(model.n_parameters, dtype=np.float32)
    for key, view in model.views(flat):
        view[...] = parameters(name)[key]
    optimizer = AdamW(AdamWConfig())
    optimizer.init(model.parameters)
    return checkpoint.save(tmp_path, TrainState(model.parameters, flat, optimizer), facts(name))


def facts(name: str) -> RunFacts:
    settings = vars(shape(**{**CASES[name], "dropout": 0.3}))
    return RunFacts(
        model_config=model_config(ModelConfig(**settings)), tokenizer_files={},
        n_shards=1, plugins=[], numerics_version=kernels.NUMERICS_VERSION, cllm_version="0",
        data_digest="", tokenizer_digest="",
    )


@pytest.fixture
def theirs(name: str, folder: Path) -> np.ndarray:
    """The logits (B, T, V) that transformers finds with the folder as it is."""
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.eval()
    with torch.no_grad():
        logits: np.ndarray = model(torch.from_numpy(batch(name)["inputs"]).long()).logits.numpy()
    return logits


def test_the_decoder_has_the_logits_of_transformers(name: str, theirs: np.ndarray) -> None:
    model = program(name, "decode")
    flat = np.zeros(model.n_parameters, dtype=np.float32)
    for key, view in model.views(flat):
        view[...] = parameters(name)[key]
    for tokens, expected in zip(batch(name)["inputs"], theirs, strict=True):
        decoder = Decoder(model, flat)
        for token, row in zip(tokens, expected, strict=True):
            assert np.abs(decoder.feed([token]) - row).max() <= 1e-4


def test_the_reference_has_the_logits_of_transformers(name: str, theirs: np.ndarray) -> None:
    exact = {key: tensor.astype(np.float64) for key, tensor in parameters(name).items()}
    tokens = batch(name)["inputs"]
    for sequence, length in ((0, 1), (1, tokens.shape[1] // 2), (4, tokens.shape[1])):
        reference = Reference(program(name, "decode"), exact, tokens[sequence : sequence + 1, :length])
        reference.run()
        found = reference.values["logits"].reshape(-1)
        assert np.abs(found - theirs[sequence, length - 1]).max() <= 1e-4


def test_transformers_finds_every_tensor_and_no_other(name: str, folder: Path) -> None:
    _, loading = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not loading["unexpected_keys"] and not loading["mismatched_keys"]
    # Its GPT-2 always has biases: where ours has none, theirs start, and stay, at 0.
    assert all(key.endswith(".bias") and "no_bias" in name for key in loading["missing_keys"])
