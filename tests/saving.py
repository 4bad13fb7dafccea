"""A small training state for the tests of saving, with gaps, a frozen and a tied tensor, an optimizer, a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cllm.checkpoint import RunFacts
from cllm.huggingface import gpt2_config
from cllm.state import TrainState


@dataclass(frozen=True)
class Parameter:
    name: str
    shape: tuple[int, ...]
    offset: int
    trainable: bool = True
    tied_to: str | None = None


TABLE = (
    Parameter("transformer.wte.weight", (5, 4), 0),
    Parameter("transformer.wpe.weight", (3, 4), 32, trainable=False),
    Parameter("transformer.ln_f.bias", (4,), 48),
    Parameter("lm_head.weight", (5, 4), 0, tied_to="transformer.wte.weight"),
)
N_ELEMENTS = 52  # with the gaps that an engine leaves to align its rows

FACTS = RunFacts(
    model_config=gpt2_config(
        vocab_size=5,
        block_size=3,
        n_layer=0,
        n_head=1,
        n_embd=4,
        activation="gelu_tanh",
        layernorm_epsilon=1e-5,
        dropout=0.0,
    ),
    tokenizer_files={"tokenizer.json": b'{"kind": "char"}', "tokenizer_config.json": b"{}"},
    n_shards=4,
    plugins=[{"name": "cllm", "version": "0"}],
    numerics_version=1,
    cllm_version="0.1",
    data_digest="da" * 32,
    tokenizer_digest="70" * 32,
)


class Adam:
    """An optimizer with two flat arrays and two scalars, which keeps the arrays that it is given."""

    def __init__(self, n_elements: int) -> None:
        self.first: npt.NDArray[np.float32] = np.zeros(n_elements, np.float32)
        self.second: npt.NDArray[np.float32] = np.zeros(n_elements, np.float32)
        self.beta_product = 1.0
        self.updates = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "beta_product": self.beta_product,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first, self.second = state["first"], state["second"]
        self.beta_product, self.updates = state["beta_product"], state["updates"]


class Spike:
    """A check that remembers a window and a smallest loss."""

    def __init__(self) -> None:
        self.window: list[float] = []
        self.smallest = float("inf")

    def state_dict(self) -> dict[str, Any]:
        return {"window": self.window, "smallest": self.smallest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.window, self.smallest = state["window"], state["smallest"]


def new_state(table: Sequence[Parameter] = TABLE, n_elements: int = N_ELEMENTS) -> TrainState:
    """A state before its first step."""
    parameters = np.zeros(n_elements, np.float32)
    return TrainState(table, parameters, Adam(n_elements), {"spike": Spike(), "clip": object()})


def state_at(step: int, table: Sequence[Parameter] = TABLE, n_elements: int = N_ELEMENTS) -> TrainState:
    """The state after `step` steps of a training that never was; a function of the step alone."""
    state = new_state(table, n_elements)
    for view in state.views().values():
        view[...] = np.linspace(step, step + 1, view.size, dtype=np.float32).reshape(view.shape)
    assert isinstance(state.optimizer, Adam)
    for parameter in table:
        if parameter.trainable and parameter.tied_to is None:
            end = parameter.offset + int(np.prod(parameter.shape))
            state.optimizer.first[parameter.offset : end] = step / 8
            state.optimizer.second[parameter.offset : end] = step / 3
    state.optimizer.beta_product, state.optimizer.updates = 0.9**step, step
    spike = state.checks["spike"]
    assert isinstance(spike, Spike)
    spike.window = [1.0, step / 7]
    state.step, state.batch_index, state.skipped = step, step + 2, [1, 3]
    return state


def moved(table: Sequence[Parameter], by: int) -> tuple[Parameter, ...]:
    """The same parameters at other places of a longer array."""
    return tuple(replace(parameter, offset=parameter.offset + by) for parameter in table)
