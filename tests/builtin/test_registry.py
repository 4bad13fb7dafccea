"""cllm's own parts: all are there, can be imported, and take their default options."""

from __future__ import annotations

from typing import Any

import pytest

from cllm.builtin import __name__ as builtin_name
from cllm.config import Part
from cllm.hooks import found
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins

NAMES = {
    "dataset": ("csv", "jsonl", "markdown", "pydoc", "repo", "squad", "text"),
    "tokenizer": ("bpe", "byte", "char"),
    "model": ("gpt2", "llama"),
    "initializer": ("family", "normal", "xavier"),
    "reducer": ("ordered", "tree"),
    "check": ("clip", "dead_gradient", "finite", "plateau", "spike", "update_ratio"),
    "optimizer": ("adamw", "lion", "muon", "sgd"),
    "schedule": ("constant", "cosine", "linear", "wsd"),
    "sink": ("console", "csv", "jsonl"),
    "communicator": ("single",),
}
OFFERS: dict[str, Any] = {"source": "book.txt", "decay_steps": 10, "every": 5}


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    monkeypatch.setattr(found, "installed", lambda: ())
    return build_manager(strict=True)


def test_all_built_ins_are_registered_by_one_plugin(plugins: Plugins) -> None:
    assert {kind: plugins.names(kind) for kind in NAMES} == NAMES
    (builtin,) = plugins.list()
    assert builtin.location == builtin_name


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_every_factory_is_there(plugins: Plugins, kind: str, name: str) -> None:
    assert callable(plugins.factory(kind, name))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, names in NAMES.items() for name in names if kind not in ("tokenizer", "model")],
)
def test_every_part_can_be_made_of_its_defaults(
    plugins: Plugins, kind: str, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    offers = dict(OFFERS, folder=str(tmp_path_factory.mktemp("run")))
    if name == "pydoc":
        del offers["source"]
    made = plugins.make(kind, Part(name), **offers)
    if kind == "sink":
        made.close()
