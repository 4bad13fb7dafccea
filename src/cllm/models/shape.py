"""What all families need to know of a model's config."""

from __future__ import annotations

from typing import Protocol


class Shape(Protocol):
    """A `[model]` table, whose sizes are known when a Program is built of it."""

    @property
    def vocab_size(self) -> int | None: ...
    @property
    def block_size(self) -> int | None: ...
    @property
    def n_layer(self) -> int | None: ...
    @property
    def n_head(self) -> int | None: ...
    @property
    def n_embd(self) -> int | None: ...
    @property
    def dropout(self) -> float: ...
    @property
    def dtype(self) -> str: ...
    @property
    def logit_softcap(self) -> float: ...


def is_plain(config: Shape) -> bool:
    """Products in float32, as all the rest is in any case."""
    return config.dtype == "float32"
