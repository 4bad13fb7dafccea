"""Looks at tokens: every file of prepared data by itself, and whether they belong together."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cllm.assemble import kinds_of
from cllm.config import DataConfig
from cllm.data.manifest import read_manifest
from cllm.data.preparedpart import REPORT_FILE, TRAIN_FILE, VALIDATION_FILE, PrepareReport
from cllm.data.source import OpenData, open_data
from cllm.data.tokenfile import TokenFile
from cllm.errors import DataError
from cllm.hooks.plugins import Plugins
from cllm.verifying.report import Report


def look_at_prepared(report: Report, folder: Path, plugins: Plugins) -> None:
    """The token files; if they are sound, the tokenizer and the counts beside them; of a mixture, of each part."""
    if not (folder / TRAIN_FILE).exists() and (manifest := read_manifest(folder)):
        for part in manifest.parts:
            look_at_prepared(report, folder / part.folder, plugins)
        return
    n_before = len(report.problems)
    for name in (TRAIN_FILE, VALIDATION_FILE):
        if name == TRAIN_FILE or (folder / name).exists():
            look_at_tokens(report, folder / name)
    if len(report.problems) == n_before:
        with report.file(folder):
            data = open_data(DataConfig(path=str(folder)), kinds_of(plugins), folder)
            if (folder / REPORT_FILE).exists():
                _refuse_other_counts(folder / REPORT_FILE, data)


def look_at_tokens(report: Report, path: Path) -> None:
    """All bytes of a token file."""
    with report.file(path):
        tokens = TokenFile.open(path)
        tokens.verify()
        report.counts["tokens"] += tokens.n_tokens


def _refuse_other_counts(path: Path, data: OpenData) -> None:
    """DataError unless the report of the preparation tells of these files."""
    train, held_out = data.train.parts[0], data.validation.n_tokens if data.validation else 0
    found = {
        "n_train_tokens": train.n_tokens, "n_validation_tokens": held_out, "n_tokens": train.n_tokens + held_out,
        "vocab_size": train.vocab_size, "tokenizer": train.tokenizer_name, "tokenizer_digest": train.tokenizer_digest,
        "source_digest": train.source_digest,
    }
    try:
        told = msgspec.json.decode(path.read_bytes(), type=PrepareReport)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unfit(f"{path} is no report of a preparation: {error}") from error
    for name, value in found.items():
        if getattr(told, name) != value:
            raise _unfit(f"{path}: {name} = {getattr(told, name)}, and the token files have {value}")


def _unfit(came: str) -> DataError:
    return DataError("verify", came, "what `cllm prepare` wrote beside the tokens", "run `cllm prepare` again")
