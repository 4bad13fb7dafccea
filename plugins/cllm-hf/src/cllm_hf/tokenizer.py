"""The tokenizer: tokenizer.json of a repository on the Hub, found by its name; what cllm makes of it is its own `bpe`.

So it stands in token files and checkpoints as every other one, and a run needs neither cache nor plugin any more.
"""

from __future__ import annotations

from pathlib import Path

from cllm.data import load_tokenizer
from cllm.errors import TokenizerError
from cllm.hooks import Tokenizer
from huggingface_hub import hf_hub_download, try_to_load_from_cache

from cllm_hf.options import TokenizerConfig, is_hub_name

WHO = "hf.tokenizer"
FILE = "tokenizer.json"


class HubTokenizer:
    """Called with its options it gives the tokenizer, which is of another class: that of the file's content."""

    name = WHO

    def __new__(cls, config: TokenizerConfig) -> Tokenizer:  # type: ignore[misc]
        """Raises TokenizerError where there is no such file, or one that is no byte-level BPE."""
        return load_tokenizer(_file(config))


def _file(config: TokenizerConfig) -> Path:
    if not is_hub_name(config.name):
        todo = "check the name; a file is given by its path, as in --tokenizer folder/tokenizer.json"
        raise TokenizerError(WHO, f"name = {config.name!r}", "a name on the Hub, as owner/name", todo)
    found = try_to_load_from_cache(config.name, FILE, revision=config.revision)
    if isinstance(found, str) and not config.online:
        return Path(found)
    if not config.online:
        came = f"no {FILE} of {config.name}{_at(config)} in the cache of this machine"
        todo = "check the name, or set online = true to fetch it"
        raise TokenizerError(WHO, came, "one that was fetched before", todo)
    return _fetched(config)


def _fetched(config: TokenizerConfig) -> Path:
    try:
        return Path(hf_hub_download(config.name, FILE, revision=config.revision))
    except Exception as error:  # of several libraries, without a class in common
        text = " ".join(str(error).split())[:200] or type(error).__name__
        todo = "check name, revision and network"
        raise TokenizerError(WHO, f"{config.name}{_at(config)}: {text}", f"a {FILE} on the Hub", todo) from None


def _at(config: TokenizerConfig) -> str:
    return f" at {config.revision}" if config.revision else ""
