"""What the data layer asks of the plugins: loaders, and tokenizers with the options by which they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cllm.config import DataConfig
from cllm.data.tokenizerfile import load_tokenizer
from cllm.errors import ConfigError
from cllm.hooks.protocols import Dataset, Tokenizer


@dataclass(frozen=True)
class Kinds:
    """Ways from a name to what a plugin has; all raise ConfigError for a name or an option that is not there."""

    dataset: Callable[[str, Mapping[str, Any]], Dataset]  # loader, its options -> the dataset
    tokenizer: Callable[[str], type[Tokenizer]]  # name -> the class
    tokenizer_options: Callable[[str, Mapping[str, Any]], msgspec.Struct | None]  # name, options -> the same, checked


def chosen_tokenizer(config: DataConfig, kinds: Kinds) -> tuple[Tokenizer | type[Tokenizer], msgspec.Struct | None]:
    """The tokenizer that `[data]` names: one that is there in a file, or a class and the options by which it learns."""
    name, given = config.tokenizer, config.tokenizer_options
    if config.tokenizer_file is None:
        return kinds.tokenizer(name), kinds.tokenizer_options(name, given)
    if given:
        came = f"{', '.join(given)} for {name}, which has learned already"
        raise ConfigError("tokenizer", came, "no options", "leave them out, or name one that learns, such as bpe")
    return load_tokenizer(Path(name).expanduser(), kinds.tokenizer), None


def tokenizer_named(
    name: str, options: Mapping[str, Any], kinds: Kinds
) -> tuple[Tokenizer | type[Tokenizer], msgspec.Struct | None]:
    """The same by the words of a command line; a class that does not learn is called, so that its digest is known."""
    chosen, how = chosen_tokenizer(DataConfig(tokenizer=name, tokenizer_options=dict(options)), kinds)
    if not isinstance(chosen, type) or hasattr(chosen, "from_texts"):
        return chosen, how
    return chosen(*(() if how is None else (how,))), None
