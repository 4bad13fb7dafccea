"""The configs that ship: each is valid and of the size that it says, and the demonstration's is what is trained."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from cllm.cli.train import DEMO
from cllm.config import from_mapping, load_config, to_toml
from cllm.hooks.manager import build_manager
from cllm.models.gpt2 import build

FOLDER = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_it_loads_and_survives_a_round_trip(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    assert from_mapping(tomllib.loads(to_toml(config))) == config


def test_the_demo_is_its_file() -> None:
    assert tomllib.loads((FOLDER / "demo.toml").read_text()) == DEMO


def test_the_full_load_has_the_size_that_it_says() -> None:
    config = build_manager().complete(load_config(FOLDER / "max-load.toml"))
    model = build(msgspec.structs.replace(config.model, vocab_size=10_000), "train")
    assert (model.n_parameters, config.tokens_per_step) == (24_166_400, 16_384)
    assert config.data.mixture and len(config.data.mixture) == 2
