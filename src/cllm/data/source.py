"""Opens what `[data]` names: prepared tokens as they are; text is tokenised first, once, into a cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from cllm.bounded import LARGEST_CONFIG, read_at_most
from cllm.config import DataConfig
from cllm.data.batches import Source
from cllm.data.counts import source_digest
from cllm.data.identity import source_identity
from cllm.data.kinds import Kinds, chosen_tokenizer
from cllm.data.learning import refuse_streams
from cllm.data.manifest import read_manifest
from cllm.data.mixture import ROUND, Mixture
from cllm.data.prepare import prepare
from cllm.data.preparedpart import REPORT_FILE, TRAIN_FILE, VALIDATION_FILE, PrepareReport
from cllm.data.split import cut
from cllm.data.tokenfile import TokenFile
from cllm.data.tokenizerfile import FILE_NAME as TOKENIZER_FILE
from cllm.data.tokenizerfile import load_tokenizer
from cllm.data.utf8 import unreadable
from cllm.digest import file_digest
from cllm.errors import DataError
from cllm.hooks.protocols import Dataset, Tokenizer

CACHE_VERSION = 3  # part of the name of what is cached: another one, where the same text gives other tokens

_NANOGPT = ("train.bin", "val.bin")
_TOKEN_FILES = (".tokens", ".bin")


@dataclass(frozen=True, eq=False)
class OpenData:
    """Tokens to train on, tokens to validate on if there are any, and their tokenizer if it is known."""

    train: Source
    validation: Source | None
    tokenizer: Tokenizer | None
    others: Mapping[str, Source] = field(default_factory=dict)  # what is measured besides, by name

    @cached_property  # nanoGPT's files are read for it
    def digest(self) -> str:
        """Of the text, wherever it lies: see identity.py."""
        return source_identity(self.train, self.validation)

    def verify(self) -> None:
        """Read all files that were too large to be read when they were opened, and nanoGPT's, which have no digest.

        Raises TokenFileError for one that was altered, or has tokens beyond its vocabulary.
        """
        sources = [self.train, *([] if self.validation is None else [self.validation]), *self.others.values()]
        files = [file for source in sources for file in source.parts]
        for file in {file.path: file for file in files if file.has_digest and not file.was_verified}.values():
            file.check_digest()
        for file in files:
            if not file.has_digest:
                file.verify()

    @property
    def tokenizer_digest(self) -> str:
        """Of the tokenizer that made the tokens; empty where nobody knows."""
        return self.train.tokenizer_digest


def open_data(config: DataConfig, kinds: Kinds, cache: Path, vocab_size: int | None = None) -> OpenData:
    """Open `[data]`; text is prepared into a folder of `cache` named by the digest of text and options.

    path may be: a folder of `prepare`; a .tokens file or nanoGPT's .bin, whose last part by position is
    for validation; a folder with nanoGPT's train.bin and val.bin (its meta.pkl is never read: unpickling
    runs code); anything else is text for the `text` loader. `vocab_size` is that of nanoGPT's files,
    which do not say it.

    Raises DataError, TokenizerError, ConfigError and PluginError.
    """
    data = _open_main(config, kinds, cache, vocab_size)
    return replace(data, others=_others(data, config, kinds, cache, vocab_size)) if config.evaluate else data


def _open_main(config: DataConfig, kinds: Kinds, cache: Path, vocab_size: int | None) -> OpenData:
    if config.mixture:
        opened = [_open_path(part.path, config, kinds, cache, vocab_size) for part in config.mixture]
        return _mixed([part.weight for part in config.mixture], opened)
    if config.loader:
        options = dict(config.options) if config.source is None else {**config.options, "source": config.source}
        return _open_text(config.loader, options, config, kinds, cache)
    return _open_path(config.path or "", config, kinds, cache, vocab_size)


def _others(
    data: OpenData, config: DataConfig, kinds: Kinds, cache: Path, vocab_size: int | None
) -> dict[str, Source]:
    """What `[data.evaluate]` names: the part for validation where there is one, or all."""
    plain = msgspec.structs.replace(config, validation=0.0, loader=None)
    others: dict[str, Source] = {}
    for name, path in config.evaluate.items():
        opened = _open_path(path, plain, kinds, cache, vocab_size, data.tokenizer)
        others[name] = source = opened.validation or opened.train
        if source.tokenizer_digest != data.tokenizer_digest or source.vocab_size > data.train.vocab_size:
            came = f"[data.evaluate] {name}: {path} has other tokens than the training part"
            raise DataError("data", came, "one tokenizer for all", "prepare it with the tokenizer.json of the other")
    return others


def _open_path(
    name: str, config: DataConfig, kinds: Kinds, cache: Path, vocab_size: int | None, tokenizer: Tokenizer | None = None
) -> OpenData:
    """tokenizer: of text, instead of the one that the config names."""
    path = Path(name).expanduser()
    if (path / TRAIN_FILE).is_file():
        return _open_prepared(path, kinds)
    if manifest := read_manifest(path):
        opened = [_open_prepared(path / part.folder, kinds) for part in manifest.parts]
        return _mixed([part.weight for part in manifest.parts], opened)
    there = [file for file in _NANOGPT if (path / file).is_file()]
    if len(there) == len(_NANOGPT):
        return _open_nanogpt(path, vocab_size)
    if there:
        todo = f"name {path / there[0]} itself, of which a part is kept for validation"
        raise DataError("data", f"{path} has {there[0]} alone", " and ".join(_NANOGPT), todo)
    if path.suffix in _TOKEN_FILES:
        return _open_token_file(TokenFile.open(path, vocab_size), config.validation, kinds)
    return _open_text("text", {"source": name}, config, kinds, cache, tokenizer)


def _open_prepared(folder: Path, kinds: Kinds) -> OpenData:
    train = TokenFile.open(folder / TRAIN_FILE)
    validation = folder / VALIDATION_FILE
    held_out = TokenFile.open(validation) if validation.exists() else None
    if not held_out and (n_tokens := _n_validation_tokens(folder)):
        raise _refuse(f"{validation} is missing", f"the {n_tokens:,} tokens that {REPORT_FILE} tells of")
    if held_out and (held_out.tokenizer_digest, held_out.source_digest) != (
        train.tokenizer_digest,
        train.source_digest,
    ):
        raise _refuse(f"{validation} was not prepared with {TRAIN_FILE}", "files of one preparation")
    return OpenData(train, held_out, _tokenizer_beside(train, kinds))


def _n_validation_tokens(folder: Path) -> int:
    """How many tokens the report of the preparation says are held out; 0 where there is none that can be read."""
    try:
        content = read_at_most(folder / REPORT_FILE, LARGEST_CONFIG)
        return msgspec.json.decode(content, type=PrepareReport).n_validation_tokens
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return 0


def _open_nanogpt(folder: Path, vocab_size: int | None) -> OpenData:
    files = [TokenFile.open(folder / name, vocab_size) for name in _NANOGPT]
    # Each file's largest id only bounds the vocabulary from below: both parts have the larger one.
    size = max(file.vocab_size for file in files)
    train, validation = (TokenFile.open(folder / name, size) for name in _NANOGPT)
    return OpenData(train, validation, None)


def _open_token_file(file: TokenFile, validation: float, kinds: Kinds) -> OpenData:
    tokenizer = _tokenizer_beside(file, kinds)
    end = cut(file.n_tokens, validation)
    if end == file.n_tokens:
        return OpenData(file, None, tokenizer)
    return OpenData(file.section(0, end), file.section(end, file.n_tokens), tokenizer)


def _tokenizer_beside(file: TokenFile, kinds: Kinds) -> Tokenizer | None:
    """The tokenizer.json beside a token file, which must be the one that it was made with."""
    path = file.path.with_name(TOKENIZER_FILE)
    if not file.tokenizer_digest:
        return None
    tokenizer = load_tokenizer(path, kinds.tokenizer)
    if tokenizer.digest() != file.tokenizer_digest:
        raise _refuse(f"{path} is not the tokenizer of {file.path.name}", "the one that made the tokens")
    return tokenizer


def _open_text(
    loader: str, options: Mapping[str, Any], config: DataConfig, kinds: Kinds, cache: Path,
    own: Tokenizer | None = None,
) -> OpenData:
    dataset = kinds.dataset(loader, options)
    refuse_streams(dataset, "data", "and text is read twice: to know it again, and to tokenise it")
    tokenizer, how = chosen_tokenizer(config, kinds) if own is None else (own, None)
    key = {
        "version": CACHE_VERSION,
        "loader": loader,
        "options": {name: value for name, value in options.items() if name != "source"},
        "text": _text_digest(dataset),
        "tokenizer": config.tokenizer if isinstance(tokenizer, type) else tokenizer.digest(),
        "validation": config.validation,
    }
    if how is not None:
        key["tokenizer_options"] = msgspec.to_builtins(how)
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
    folder = cache / digest
    if not folder.exists():
        _prepare_once(dataset, tokenizer, folder, config.validation, how)
    return _open_prepared(folder, kinds)


def _prepare_once(
    dataset: Dataset, tokenizer: Tokenizer | type[Tokenizer], folder: Path, validation: float, options: Any
) -> None:
    try:
        prepare(dataset, tokenizer, folder, validation, options)
    except DataError:
        if not (folder / TRAIN_FILE).exists():  # else another process was faster, with the same tokens
            raise


def _text_digest(dataset: Dataset) -> str:
    """A digest that changes with the text: of the dataset's files, if it names them, else of its documents."""
    files: Callable[[], list[Path]] | None = getattr(dataset, "files", None)
    if files is None:
        return source_digest(dataset)
    digest = hashlib.blake2b(digest_size=32)
    for file in files():
        try:
            digest.update(bytes.fromhex(file_digest(file)))
        except OSError as error:
            raise unreadable(file, "data", error) from None
    return digest.hexdigest()


def _mixed(weights: list[float], opened: list[OpenData]) -> OpenData:
    """One mixture of all; what is a mixture itself has its weight divided among its parts."""
    held_out = [data.validation for data in opened if data.validation]
    divided = [
        weight * share for weight, data in zip(weights, opened, strict=True) for share in _shares(data.train)
    ]
    train = Mixture.of([file for data in opened for file in data.train.parts], divided)
    validation = (
        Mixture.of([file for source in held_out for file in source.parts], _ones(held_out)) if held_out else None
    )
    return OpenData(train, validation, opened[0].tokenizer)


def _shares(source: Source) -> list[float]:
    return [places / ROUND for places in source.places] if isinstance(source, Mixture) else [1.0]


def _ones(sources: list[Source]) -> list[float]:
    return [1.0 for source in sources for _ in source.parts]


def _refuse(came: str, expected: str) -> DataError:
    return DataError(who="data", came=came, expected=expected, todo="run `cllm prepare` again")
