"""The loss of a model over text: the same number at any thread count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm import kernels
from cllm.binding import Batch
from cllm.engine import Engine
from cllm.errors import DataError
from cllm.floats import standard_floats


@dataclass(frozen=True)
class Evaluation:
    """Mean token loss in nats over `n_tokens` counted tokens, which stand for `n_bytes` bytes of text."""

    loss: float
    n_tokens: float
    n_bytes: int | None = None

    @property
    def perplexity(self) -> float:
        return kernels.exp64(self.loss)

    @property
    def bits_per_byte(self) -> float | None:
        """Loss in bits, spread over the bytes of the text; None where these are not known."""
        return None if not self.n_bytes else self.loss / kernels.log64(2.0) * self.n_tokens / self.n_bytes


@standard_floats()
def evaluate(
    engine: Engine, parameters: NDArray[np.float32], batches: Iterable[Batch],
    n_bytes: Callable[[NDArray[Any]], int] | None = None,
) -> Evaluation:
    """Forward only; engine: of an evaluating Program. n_bytes: bytes of text that token ids stand for."""
    total_bytes = 0

    def counted() -> Iterable[Batch]:
        nonlocal total_bytes
        for batch in batches:
            if n_bytes is not None:
                total_bytes += n_bytes(batch.targets[batch.targets >= 0])
            yield batch

    loss, weight = engine.losses(parameters, counted())
    if not weight > 0.0:
        raise DataError("evaluation", "no counted token", "at least one", "give data with more tokens than one block")
    return Evaluation(loss / weight, weight, total_bytes or None)
