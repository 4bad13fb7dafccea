"""The initializer as cllm's host calls it: which tables become lattices, and with which deviation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from cllm_crystal.lattice import phyllotaxis, primes, scaled

if TYPE_CHECKING:
    from cllm.program import Parameter

Float32 = NDArray[np.float32]
Positive = Annotated[float, Meta(gt=0.0, description="a number above 0")]
Harmonics = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Kind = Literal["phyllotaxis", "primes", "family"]

# How GPT-2 and Llama name their tables; Llama has none of positions.
TOKENS, POSITIONS = (".wte.weight", ".embed_tokens.weight"), (".wpe.weight",)


class LatticeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """tokens: how the token embedding begins: phyllotaxis, primes, or family, as the model family says

    positions: likewise, the table of positions, where there is one
    harmonics: of phyllotaxis: how many windings of the spiral there are; left out, one for each pair of channels
    deviation: of the values; left out, the family's own
    """

    tokens: Kind = "phyllotaxis"
    positions: Kind = "family"
    harmonics: Harmonics | None = None
    deviation: Positive | None = None


class Lattice:
    """Tables of tokens and positions as lattices, of the root mean square that the family's draws have."""

    def __init__(self, config: LatticeConfig) -> None:
        self._config = config

    def values(self, parameter: Parameter, normal: Callable[[float], Float32]) -> Float32 | None:
        """(N, C) float32 for a table that the config chooses, None for all other parameters."""
        config = self._config
        match self._kind(parameter.name):
            case "phyllotaxis":
                n_rows, n_channels = parameter.shape
                table = phyllotaxis(n_rows, n_channels, config.harmonics)
            case "primes":
                table = primes(normal(1.0))
            case _:
                return None
        deviation = parameter.deviation if config.deviation is None else config.deviation
        return scaled(table, parameter, deviation)

    def _kind(self, name: str) -> Kind:
        if name.endswith(TOKENS):
            return self._config.tokens
        return self._config.positions if name.endswith(POSITIONS) else "family"
