"""The configs that ship: each is valid, and the demonstration's file is what the command trains."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cllm.cli.train import DEMO
from cllm.config import from_mapping, load_config, to_toml

FOLDER = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_it_loads_and_survives_a_round_trip(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    assert from_mapping(tomllib.loads(to_toml(config))) == config


def test_the_demo_is_its_file() -> None:
    assert tomllib.loads((FOLDER / "demo.toml").read_text()) == DEMO
