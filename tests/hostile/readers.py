"""Whatever reads a file that comes from elsewhere, for fuzzing: sound files to begin with, and how it is read.

Most formats seal themselves, so that hardly anything but the seal is tried by files that are altered at random:
`sealed` makes of such bytes what another program would have written, with digests that fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cllm import ledger, receipt, statefile
from cllm.builtin.csv import CsvConfig, CsvDataset
from cllm.builtin.jsonl import JsonlConfig, JsonlDataset
from cllm.builtin.markdown import MarkdownConfig, MarkdownDataset
from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.config import load_config, to_toml
from cllm.csvlines import cut_csv_from
from cllm.data.ignored import Patterns
from cllm.data.jsonevents import JsonEvents, finish, skip
from cllm.data.standard import byte_form, char_form
from cllm.data.tokenfile import DIGEST_BYTES, MAGIC, TokenFile, header_digest
from cllm.data.tokenizerfile import load_tokenizer
from cllm.data.tokenwrite import write_tokens
from cllm.data.utf8 import read_utf8
from cllm.digest import bytes_digest, json_digest
from cllm.errors import CllmError
from cllm.jsonl import line_of
from cllm.reporting import Run, page
from cllm.reporting.following import Follower
from cllm.tensorfile import read_tensors, tensor_parts
from tests.hooks.values import a_report
from tests.hostile.squad import TEXT, article
from tests.saving import state_at
from tests.test_statefile import RECORD


@dataclass(frozen=True)
class Reader:
    """`read` takes a path of the name `name`. What is no CllmError that comes out of it is a finding."""

    name: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    sealed: Callable[[bytes], bytes] = bytes

    def takes(self, folder: Path, data: bytes) -> bool:
        """Whether it reads these bytes; False where it refuses them, as it may. Other exceptions come through."""
        path = folder / self.name
        path.write_bytes(data)
        try:
            self.read(path)
        except CllmError as error:
            assert str(error).isprintable() and all((error.who, error.came, error.expected, error.todo))
            return False
        return True


def _read_json(path: Path) -> None:
    events = JsonEvents(path, "json", lambda: "the file", "JSON")
    skip(events)
    finish(events)


def _squad_seeds() -> list[bytes]:
    impossible = {"question": "Why?", "is_impossible": True, "answers": [], "plausible_answers": [{"text": "é"}]}
    values = [article(), article(paragraphs=[TEXT, TEXT | {"qas": [impossible]}]), {"version": "2.0",
    **article(id=1.5e-7)}]
    return [json.dumps(value).encode() for value in values] + [json.dumps(values[1], ensure_ascii=False).encode()]


def _read_patterns(path: Path) -> None:
    patterns = Patterns(path.read_bytes().split(b"\n"))
    for one in ("a", "a/b", "x.o", "[x]/a b/é"):
        patterns.match(Path(one), is_folder=False)


def _token_seeds() -> list[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tokens"
        seeds = []
        for tokens, vocab_size, starts in (([1, 2, 3], 5, [0, 2]), ([7] * 90, 300, [0]), ([70_000, 1], 70_001, [0, 1])):
            write_tokens(path, tokens, vocab_size, starts)
            seeds.append(path.read_bytes())
    return seeds


def _with_digests(data: bytes) -> bytes:
    n = int.from_bytes(data[8:16], "little")
    if not data.startswith(MAGIC) or len(data) < 64 + n + DIGEST_BYTES:
        return data
    body = data[:16] + header_digest(data, data[64 : 64 + n]) + data[48:-DIGEST_BYTES]
    return body + hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


def _as_record(data: bytes) -> bytes:
    """state.json with a seal that fits."""
    try:
        content = json.loads(data)
        content.pop("seal", None)
        return statefile.json_bytes(content | {"seal": json_digest(content)}, "state")
    except (ValueError, AttributeError, TypeError, RecursionError, CllmError):
        return data


def _as_receipt(data: bytes) -> bytes:
    try:
        content = json.loads(data)
        content.pop("seal", None)
        return json.dumps(content | {"seal": json_digest(content)}).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return data


def _receipt_seed() -> bytes:
    versions = {"cllm": "0", "numerics": 1, "n_shards": 1, "n_threads": 1, "data_digest": "", "tokenizer_digest": ""}
    content: dict[str, Any] = {
        "format": receipt.FORMAT, "run": "r", "step": 1, "batch_index": 0, "summary": "s", "decision": {},
        "dropped": [], "own_reducer": False, "first": None, "again": {},
        "shards": [], "growth": {}, "weights": None, "config": {},
        "versions": versions, "seen": {"loss": "0x1p0", "shard_losses": [], "gradient": None, "n_nonfinite": 0},
    }
    return json.dumps(content | {"seal": json_digest(content)}).encode()


def _chained(data: bytes) -> bytes:
    """Lines of a ledger, each chained to the one before."""
    lines, chain = [], ""
    for line in data.split(b"\n"):
        with suppress(ValueError, TypeError, AttributeError, RecursionError):
            content = json.loads(line)
            content.pop("chain", None)
            chain = bytes_digest(chain.encode() + json.dumps(content, sort_keys=True).encode())
            line = json.dumps({**content, "chain": chain}, sort_keys=True).encode()
        lines.append(line)
    return b"\n".join(lines)


def _ledger_seed() -> bytes:
    lines = [
        {"step": 1, "batch_index": 1, "digest": "ab", "decisions": {"clip": 1}},
        {"step": 1, "batch_index": 2, "event": "skip", "reasons": ["spike: high"]},
    ]
    return _chained(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def _behind_its_length(header: bytes) -> bytes:
    """A safetensors file with this header, and some bytes of tensors."""
    return len(header).to_bytes(8, "little") + header + bytes(256)


def _tensor_seeds() -> list[bytes]:
    whole = b"".join(tensor_parts({"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.int64), "c": np.ones(3,
                     np.uint8)}))
    state = state_at(2).snapshot().parameters
    return [whole, whole[8 : 8 + int.from_bytes(whole[:8], "little")], b"".join(tensor_parts(state))]


def _metrics_seeds() -> list[bytes]:
    reports = [{}, {"step": 11, "decision": "skip", "reasons": ("spike: high",)}, {"step": 4, "validation_loss": 2.5}]
    return [b"".join(line_of(vars(a_report(**changes))).encode() + b"\n" for changes in reports)]


def _picture(path: Path) -> None:
    run = Run(path, load_config(base={"data": {"path": "book.txt"}}), 1000, 1, 1000, Follower(path).history())
    page([run, run]).encode()


def _config_seeds() -> list[bytes]:
    texts = [
        '[data]\npath = "book.txt"\n',
        '[data]\nloader = "squad"\nsource = ["a.json"]\n[train]\nepochs = 2.5\n[checks]\nspike = false\n',
        '[checks.tight]\nname = "clip"\nmax_norm = 0.5\n[[data.mixture]]\npath = "a"\nweight = 2\n',
        to_toml(load_config(base={"data": {"path": "book.txt"}})),
    ]
    return [text.encode() for text in texts]


def _tokenizer_seeds() -> list[bytes]:
    own = [{"name": "byte", "version": 1}, {"name": "char", "version": 1, "alphabet": "abé"}]
    return [json.dumps(form).encode() for form in (*own, char_form("ab"), byte_form())]


READERS = {
    "squad": Reader(
        "a.json", _squad_seeds, lambda path: list(SquadDataset(SquadConfig(str(path))).documents())
    ),
    "json": Reader("a.json", _squad_seeds, _read_json),
    "text": Reader("a.txt", lambda: ["The end. é 漢字\r\n".encode()], lambda path: list(read_utf8(path, "text"))),
    "jsonl": Reader(
        "a.jsonl", lambda: [b'{"text": "a", "n": [1, 2.5, null]}\n\n{"text": "\\u00e9\\ud83d\\ude00"}'],
        lambda path: list(JsonlDataset(JsonlConfig(source=str(path))).documents()),
    ),
    "csv": Reader(
        "a.csv", lambda: [b'n,text\r\n1,"a ""b"""\r\n', "text\n\n\"é\n\"\nb".encode()],
        lambda path: list(CsvDataset(CsvConfig(source=str(path))).documents()),
    ),
    "markdown": Reader(
        "a.md", lambda: [b"---\na: b\n---\n\n# Title\n", b"---\r\n\r\n# Rule\r\n"],
        lambda path: list(MarkdownDataset(MarkdownConfig(source=str(path))).documents()),
    ),
    "gitignore": Reader(
        ".gitignore", lambda: [b"*.o\n!/a/**/b\n[!a-c]?/\n", b"# note\n\\#a\n**/x\\ \n[[:alpha:]]]*\r\n"],
        _read_patterns,
    ),
    "tokens": Reader("a.tokens", _token_seeds, lambda path: TokenFile.open(path).verify(), _with_digests),
    "nanogpt": Reader("a.bin", lambda: [bytes(range(40))], lambda path: TokenFile.open(path).verify()),
    "checkpoint": Reader(
        statefile.NAME, lambda: [statefile.encode(RECORD)], lambda path: statefile.read(path.parent), _as_record
    ),
    "tensors": Reader("a.safetensors", _tensor_seeds, read_tensors, _behind_its_length),
    "ledger": Reader("ledger.jsonl", lambda: [_ledger_seed()], ledger.read, _chained),
    "metrics": Reader("metrics.jsonl", _metrics_seeds, _picture),
    "table": Reader("metrics.csv", lambda: [b"step,batch_index\n1,0\n2,1\n"], lambda path: cut_csv_from(path, 1)),
    "incident": Reader("incident.json", lambda: [_receipt_seed()], receipt.read, _as_receipt),
    "config": Reader("run.toml", _config_seeds, load_config),
    "tokenizer": Reader("tokenizer.json", _tokenizer_seeds, load_tokenizer),
}


@cache
def seeds_of(name: str) -> tuple[bytes, ...]:
    """The sound files of a reader."""
    return tuple(READERS[name].seeds())
