"""Folders that cllm wrote and something has spoilt: prepared data, runs with their configs, ledgers, checkpoints."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cllm import runfolder, statefile
from cllm.digest import bytes_digest, file_digest, json_digest
from cllm.errors import (
    CheckpointError,
    CllmError,
    ConfigError,
    DataError,
    MemoryLimitError,
    RunFolderError,
    TokenFileError,
    TokenizerError,
)
from tests.hostile.case import Case, Words
from tests.hostile.samples import SMALL, prepared, settings, text, trained

NEWEST, OLDER = "checkpoints/step-00000003", "checkpoints/step-00000002"
Spoil = Callable[[Path], object]


def flip(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 4
        (folder / name).write_bytes(data)

    return spoil


def cut(name: str, size: int = -1) -> Spoil:
    return lambda folder: os.truncate(folder / name, size if size >= 0 else (folder / name).stat().st_size + size)


def longer(name: str, more: bytes = b"\0") -> Spoil:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + more)


def gone(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def written(name: str, data: str | bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def a_folder(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return spoil


def both(*spoils: Spoil) -> Spoil:
    return lambda folder: [spoil(folder) for spoil in spoils]


def data(
    name: str, spoil: Spoil, came: str, expected: str, todo: str, error: type[CllmError] = TokenFileError,
    who: str = "token file",
) -> Case:
    def make(folder: Path) -> Words:
        spoil(prepared(folder))
        return ["train", "--data", "data", "--out", "out", *settings(*SMALL)]

    return Case(f"prepared data: {name}", make, error, who, came, expected, todo)


def run(
    name: str, words: str, spoil: Spoil, came: str, expected: str, todo: str, error: type[CllmError], who: str
) -> Case:
    def make(folder: Path) -> Words:
        spoil(trained(folder))
        if name != "an altered config":
            reseal(folder / "run/config.toml")
        return words.split()

    return Case(f"run: {name}", make, error, who, came, expected, todo)


def reseal(config: Path) -> None:
    """As whoever forges a config would do it."""
    if config.exists():
        content = config.read_bytes()
        text = content.partition(b"\n")[2] if content.startswith(runfolder.SEAL) else content
        config.write_bytes(runfolder._seal(text) + text)


def saved(name: str, spoil: Spoil, came: str, expected: str = "one whose files are all as they were saved") -> Case:
    """The newest checkpoint is spoilt, and the older one gone, which would be taken."""

    def make(folder: Path) -> Words:
        found = trained(folder)
        shutil.rmtree(found / OLDER)
        spoil(found / NEWEST)
        return ["digest", "run"]

    return Case(
        f"checkpoint: {name}", make, CheckpointError, "checkpoint", ("none in run/checkpoints verifies", came),
        expected, "restore one from a backup, or start a new run",
    )


def sealed(**changes: Any) -> Spoil:
    """state.json with other values and a seal that fits."""

    def spoil(folder: Path) -> None:
        content = json.loads((folder / "state.json").read_bytes()) | changes
        del content["seal"]
        content["seal"] = json_digest(content)
        (folder / "state.json").write_bytes(statefile.json_bytes(content, "state"))

    return spoil


def listed(name: str) -> Spoil:
    """state.json lists what `name` is now, as whoever forges a checkpoint would write it."""

    def spoil(folder: Path) -> None:
        files = json.loads((folder / "state.json").read_bytes())["files"]
        path = folder / name
        files[name] = {"n_bytes": path.stat().st_size, "blake2b": file_digest(path)}
        sealed(files=files)(folder)

    return spoil


def tensors(header: Any, n_bytes: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(n_bytes)


def weights(name: str, content: bytes, came: str, expected: str = "a whole safetensors file", todo: str = "use another",
            error: type[CllmError] = CheckpointError, who: str = "checkpoint") -> Case:
    def make(folder: Path) -> Words:
        text(folder)
        (folder / "bad.safetensors").write_bytes(content)
        return ["train", "--data", "text.txt", "--init-from", "bad.safetensors", "--out", "out", *settings(*SMALL)]

    return Case(f"weights: {name}", make, error, who, ("bad.safetensors", came), expected, todo)


def ledger_line(**content: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        with (folder / "ledger.jsonl").open("ab") as file:
            previous = bytes_digest((folder / "ledger.jsonl").read_bytes().splitlines()[-1])
            file.write(json.dumps({"previous": previous, **content}, sort_keys=True).encode() + b"\n")

    return spoil


def sparse_weights(folder: Path) -> Words:
    """One tensor of 8 TiB of zeros that take no disk: sound by the rules of the format."""
    text(folder)
    n_bytes = 1 << 43
    header = tensors({"a": {"dtype": "F32", "shape": [n_bytes // 4], "data_offsets": [0, n_bytes]}})
    (folder / "bad.safetensors").write_bytes(header)
    os.truncate(folder / "bad.safetensors", len(header) + n_bytes)
    return ["train", "--data", "text.txt", "--init-from", "bad.safetensors", "--out", "out", *settings(*SMALL)]


def retold(folder: Path, before: str, after: str) -> None:
    path = folder / "config.toml"
    content = path.read_text()
    assert before in content
    path.write_text(content.replace(before, after))


def elsewhere(folder: Path, data: Path) -> None:
    """The run's config names other data."""
    path = folder / "config.toml"
    path.write_text(re.sub('^path = ".*"$', f'path = "{data}"', path.read_text(), flags=re.MULTILINE))


def spoilt_data(folder: Path) -> None:
    flip("validation.tokens")(prepared(folder.parent))
    elsewhere(folder, folder.parent / "data")


def init_from_nothing(folder: Path) -> Words:
    text(folder)
    (folder / "empty").mkdir()
    return ["train", "--data", "text.txt", "--init-from", "empty", "--out", "out", *settings(*SMALL)]


def out_is_used(folder: Path) -> Words:
    text(folder)
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("do not touch")
    return ["train", "--data", "text.txt", "--out", "out", *settings(*SMALL)]


def prepare_out_is_used(folder: Path) -> Words:
    text(folder)
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("do not touch")
    return ["prepare", "text", "text.txt", "--out", "out"]


AGAIN = "run `cllm prepare` again"
TAIL = "content does not have the digest at its end"
GIVE = "give the folder that the run named"
RESTORE = "restore it from a backup, or move it away"
REPAIR = "use an older checkpoint"
THE_RUNS, BRING_BACK = "the config of the run", "bring it back from a backup"
OF_MODEL, GIVE_MODEL = "the 16 tensors of the configured model", "give [model] and the tokenizer the values of the run"
F32 = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}

CASES = [
    data("train.tokens cut", cut("train.tokens"), "train.tokens", "bytes", AGAIN),
    data("train.tokens altered", flip("train.tokens"), TAIL, "an unaltered file", AGAIN),
    data("train.tokens empty", cut("train.tokens", 0), "not a token file", "a file of `cllm prepare`", "prepare"),
    data("validation.tokens altered", flip("validation.tokens"), TAIL, "an unaltered file", AGAIN),
    data("validation.tokens gone", gone("validation.tokens"), "validation.tokens is missing",
         "tokens that prepare.json",
         AGAIN, DataError, "data"),
    data("validation.tokens a folder", a_folder("validation.tokens"), "directory", "a file that can be read", "check"),
    data("the parts of two preparations", lambda folder: shutil.copy(
        prepared(folder.parent, "other") / "validation.tokens", folder), "was not prepared with train.tokens",
        "files of one preparation", AGAIN, DataError, "data"),
    data("tokenizer.json gone", gone("tokenizer.json"), "No such file", "a path that is there", "check the path",
         TokenizerError, "tokenizer"),
    data("tokenizer.json cut", cut("tokenizer.json", 100), "tokenizer.json: not JSON", "a tokenizer's JSON file",
         "get the file again, or prepare the data again", TokenizerError, "tokenizer"),
    data("another's tokenizer.json", written("tokenizer.json", '{"name": "byte", "version": 1}'),
         "tokenizer.json is not the tokenizer of train.tokens", "the one that made the tokens", AGAIN, DataError,
         "data"),

    saved("state.json gone", gone("state.json"), "state.json cannot be read: No such file"),
    saved("state.json cut", cut("state.json", 200), "state.json is not a record of cllm"),
    saved("state.json altered", flip("state.json"), "state.json"),
    saved("state.json of zeros", written("state.json", bytes(999)), "state.json is not a record of cllm"),
    saved("state.json a list", written("state.json", "[]"), "state.json is not a record of cllm"),
    saved("state.json nested 200,000 deep", written("state.json", "[" * 200_000), "state.json is not a record of cllm"),
    saved("state.json with a number of 9,999 digits", written("state.json", '{"seal": ' + "9" * 9999 + "}"),
          "state.json is not a record of cllm"),
    saved("state.json of another format", sealed(format=99), "state.json has format 99"),
    saved("state.json with text for a step", sealed(step="3"), "is not a record of cllm: Expected `int`"),
    saved("state.json with a table for a float", sealed(checks={"spike": {statefile.NON_FINITE: {}}}),
          "is not a record of cllm: float() argument"),
    saved("state.json with a float beyond all", sealed(checks={"spike": {statefile.NON_FINITE: 10**400}}),
          "is not a record of cllm: int too large"),
    saved("state.json with half a surrogate pair", sealed(**{"\ud800": 0}), "is not a record of cllm"),
    saved("state.json of another step", sealed(step=7), "holds step 7"),
    saved("state.json that lists nothing", sealed(files={}), "state.json does not list model.safetensors"),
    saved("state.json that lists a file outside", both(
        lambda folder: (folder.parent.parent / "secret").write_text("x"), sealed(files={
            name: {"n_bytes": 1, "blake2b": "00"} for name in ("../../secret", "model.safetensors", "config.json",
                                                             "optimizer.safetensors")
        })), "../../secret"),
    saved("state.json a folder", a_folder("state.json"), "state.json cannot be read: Is a directory"),
    saved("model.safetensors gone", gone("model.safetensors"), "model.safetensors cannot be read: No such file"),
    saved("model.safetensors altered", flip("model.safetensors"), "model.safetensors has been altered"),
    saved("model.safetensors cut", cut("model.safetensors"), "model.safetensors has"),
    saved("model.safetensors longer", longer("model.safetensors"),
          "model.safetensors has"),
    saved("optimizer.safetensors altered", flip("optimizer.safetensors"), "optimizer.safetensors has been altered"),
    saved("optimizer.safetensors gone", gone("optimizer.safetensors"), "optimizer.safetensors cannot be read"),
    saved("config.json altered", flip("config.json"), "config.json has been altered"),
    saved("config.json forged", both(written("config.json", "{"), listed("config.json")), "config.json"),
    saved("tokenizer.json altered", flip("tokenizer.json"), "tokenizer.json has been altered"),
    saved("a forged model that is none", both(written("model.safetensors", b"PK\3\4" + bytes(99)),
          listed("model.safetensors")), "model.safetensors cannot be read"),
    saved("a forged model of 10^18 elements", both(
        written("model.safetensors", tensors({"a": {**F32, "shape": [10**9, 10**9]}}, 16)),
        listed("model.safetensors")), "model.safetensors cannot be read"),

    weights("empty", b"", "cannot be read"),
    weights("a header of 2^60 bytes", (1 << 60).to_bytes(8, "little") + bytes(99), "cannot be read"),
    weights("a header that is no JSON", tensors(b"{not json"), "cannot be read"),
    weights("a header nested 100,000 deep", tensors(b'{"a":' * 100_000), "cannot be read"),
    weights("10^18 elements", tensors({"a": {**F32, "shape": [10**18]}}, 16), "cannot be read"),
    weights("sizes whose product overflows", tensors({"a": {**F32, "shape": [2**32, 2**32]}}, 16), "cannot be read"),
    weights("a negative size", tensors({"a": {**F32, "shape": [-2, -2]}}, 16), "cannot be read"),
    weights("offsets that cross", tensors({"a": {**F32, "data_offsets": [16, 0]}}, 16), "cannot be read"),
    weights("offsets behind the end", tensors({"a": F32}), "cannot be read"),
    weights("tensors that lie on each other", tensors({"a": F32, "b": F32}, 16), "cannot be read"),
    weights("an unknown dtype", tensors({"a": {**F32, "dtype": "F31"}}, 16), "cannot be read"),
    weights("bfloat16", tensors({"a": {**F32, "dtype": "BF16", "shape": [2, 4]}}, 16), "data type 'bfloat16' not"),
    weights("none of the model's tensors", tensors({"a": F32}, 16), "a is unknown to this model", OF_MODEL, GIVE_MODEL),
    weights("no tensors", tensors({}), "c_attn.bias is missing", OF_MODEL, GIVE_MODEL),
    Case("weights: more than any memory", sparse_weights, MemoryLimitError, "memory",
         ("the tensors of bad.safetensors", "8,796.1 GB"), "80 %", "use smaller weights"),
    weights("a pickle of PyTorch", b"PK\3\4" + b"archive/data.pkl" * 9, "cannot be read"),
    Case("weights: an empty folder", init_from_nothing, CheckpointError, "checkpoint", "no weights in empty",
         "a run folder, a checkpoint, or a folder with model.safetensors", "give the path of a run"),

    run("missing", "eval nowhere", lambda _: None, "there is no folder nowhere", "the folder of a run", GIVE,
        RunFolderError, "run folder"),
    run("a file", "digest run/lock", lambda _: None, "run/lock is a file", "the folder of a run", GIVE,
        RunFolderError, "run folder"),
    run("without its config", "generate run", gone("config.toml"), "run has no config.toml", "the folder of a run",
        GIVE,
        RunFolderError, "run folder"),
    run("without its config, to go on", "train --resume run", gone("config.toml"), "run has no config.toml",
        "the folder of a run", GIVE, RunFolderError, "resume"),
    run("an altered config", "train --resume run", lambda folder: retold(folder, "n_embd = 8", "n_embd = 16"),
        "config.toml has been altered", "the config as the run wrote it", "change settings by --set", RunFolderError,
        "run folder"),
    run("a config cut in a string", "generate run", written("config.toml", 'name = "ru'), "config.toml: ",
        "TOML in UTF-8",
        "correct the file", ConfigError, "config"),
    run("an empty config", "train --resume run", cut("config.toml", 0), "does not say where the text is",
        "path, loader or mixture", "add path", ConfigError, "config"),
    run("a config of another model", "generate run", lambda folder: retold(folder, "n_embd = 8", "n_embd = 16"),
        "of a model with n_embd = 16, run/checkpoints/step-00000003 of 8", THE_RUNS, BRING_BACK, CheckpointError,
        "load"),
    run("a config of more layers", "generate run", lambda folder: retold(folder, "n_layer = 1", "n_layer = 2"),
        "of a model with n_layer = 2", THE_RUNS, BRING_BACK, CheckpointError, "load"),
    run("a config of 10^12 layers", "eval run", lambda folder: retold(folder, "n_layer = 1", "n_layer = 1000000000000"),
        "of a model with n_layer = 1000000000000", THE_RUNS, BRING_BACK, CheckpointError, "load"),
    run("a config of a model that no memory holds", "generate run",
        lambda folder: retold(folder, "n_embd = 8", "n_embd = 100000000"), "of a model with n_embd = 100000000",
        THE_RUNS, BRING_BACK, CheckpointError, "load"),
    run("a config of 2 MiB", "train --resume run", longer("config.toml", b"# x\n" * 600_000),
        "config.toml: it has more than 1 MiB", "a TOML file that can be read", "check the path", ConfigError, "config"),
    run("no checkpoint", "eval run", lambda folder: shutil.rmtree(folder / "checkpoints"), "no checkpoint in run",
        "at least one", "let the run reach its first", CheckpointError, "load"),
    run("checkpoints a file", "train --resume run --set train.steps=9", both(
        lambda folder: shutil.rmtree(folder / "checkpoints"), written("checkpoints", "")),
                                     "run/checkpoints: File exists",
        "a folder, or nothing of that name", "choose another path", RunFolderError, "run folder"),
    run("a ledger with a line altered", "diff run run", flip("ledger.jsonl"), "ledger.jsonl is not what was written",
        "an unaltered ledger", RESTORE, RunFolderError, "ledger"),
    run("a ledger of zeros", "diff run run", written("ledger.jsonl", bytes(99) + b"\n"), "line 1 of", "an unaltered",
        RESTORE, RunFolderError, "ledger"),
    run("a ledger with text for a step", "diff run run", ledger_line(step="x", batch_index=9), "line 5 of",
        "an unaltered",
        RESTORE, RunFolderError, "ledger"),
    run("a ledger nested 100,000 deep", "diff run run", written("ledger.jsonl", "[" * 100_000 + "\n"), "line 1 of",
        "an unaltered ledger", RESTORE, RunFolderError, "ledger"),
    run("a ledger that is a folder", "diff run run", a_folder("ledger.jsonl"), "run/ledger.jsonl: Is a directory",
        "a file", "rename what is there", RunFolderError, "ledger"),
    run("a ledger of one line without end", "diff run run", written("ledger.jsonl", b" " * (17 << 20)),
        "a line has more than 16 MiB", "as small as others of its kind", "check that it is the file", RunFolderError,
        "ledger"),
    run("metrics that are a folder", "train --resume run --set train.steps=9", a_folder("metrics.jsonl"),
        "run/metrics.jsonl: Is a directory", "a file", "rename what is there", RunFolderError, "run folder"),
    run("fewer steps than were made", "train --resume run --set train.steps=1", lambda _: None,
        "train.steps = 1, and the run has made 3 already", "3 or more", "leave it out", ConfigError, "resume"),
    run("another learning rate", "train --resume run --set optimizer.learning_rate=1", lambda _: None,
        "optimizer.learning_rate was", "the values that the run was started with", "leave them out", ConfigError,
        "resume"),
    run("another text", "train --resume run --set data.path=other --set train.steps=9",
        lambda folder: prepared(folder.parent, "other"),
        "the text has changed", "the text that the run was trained on", "bring it back", DataError, "resume"),
    run("other text, to measure", "eval run", lambda folder: elsewhere(folder, prepared(folder.parent, "other")),
        "the text has changed", "the text that the run was trained on", "bring it back", DataError, "eval"),
    run("its data altered", "eval run", spoilt_data, TAIL, "an unaltered file", AGAIN, TokenFileError, "token file"),
    run("its data gone", "train --resume run --set train.steps=9", lambda folder: elsewhere(folder,
        folder.parent / "no"),
        "no: No such file", "a file that can be read", "check the path", DataError, "data"),
    Case("run: a folder with something in it", out_is_used, RunFolderError, "run folder",
         "out is not empty: it has mine",
         "an empty folder or a new name", "choose another --out"),
    Case("prepare: a folder with something in it", prepare_out_is_used, DataError, "prepare", "out is there already",
         "a new or empty folder", "choose another, or remove it first"),
]

