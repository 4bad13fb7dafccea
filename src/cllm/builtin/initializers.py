"""Built-in initializers. Matrices have two axes or more, embeddings among them; biases and norms stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cllm.program import Parameter

Float32 = NDArray[np.float32]
Positive = Annotated[float, Meta(gt=0.0, description="a number above 0")]


class Family:
    """What the model family says, parameter by parameter."""

    def values(self, parameter: Parameter, normal: Callable[[float], Float32]) -> Float32 | None:
        return None


class NormalConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """deviation: of the draws, whose mean is 0."""

    deviation: Positive = 0.02


class Normal:
    """Every matrix N(0, deviation^2), without the smaller deviation of the products that end a block."""

    def __init__(self, config: NormalConfig) -> None:
        self._deviation = config.deviation

    def values(self, parameter: Parameter, normal: Callable[[float], Float32]) -> Float32 | None:
        return normal(self._deviation) if len(parameter.shape) > 1 else None


class XavierConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """gain: times the deviation."""

    gain: Positive = 1.0


class Xavier:
    """Every matrix N(0, gain^2 * 2 / (rows + columns)): Glorot and Bengio 2010, formula 12, in its normal form."""

    def __init__(self, config: XavierConfig) -> None:
        self._gain = config.gain

    def values(self, parameter: Parameter, normal: Callable[[float], Float32]) -> Float32 | None:
        if len(parameter.shape) < 2:
            return None
        rows, columns = parameter.shape[-2:]
        return normal(self._gain * sqrt(2.0 / (rows + columns)))
