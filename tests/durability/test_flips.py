"""Random damage to every file of a run and of its tokens: each is told of by a typed error, or changes no meaning."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cllm import checkpoint, ledger
from cllm.config import DataConfig
from cllm.data.source import open_data
from cllm.data.tokenfile import TokenFile
from cllm.errors import CllmError
from cllm.hooks.manager import build_manager
from cllm.runfolder import RunFolder
from cllm.verifying import verify
from tests.data.helpers import KINDS
from tests.evidence import record
from tests.runs import config, train

PAGE = 512


def flip_a_bit(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def change_a_byte(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] = chance.randrange(256)


def cut_off(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def cut_off_lines(data: bytearray, chance: random.Random) -> None:
    """Where a line ends, so that what is left looks whole."""
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
    del data[chance.choice([0, *ends[:-1]]) :]


def clear_a_page(data: bytearray, chance: random.Random) -> None:
    """As a disk leaves what it has lost."""
    begin = chance.randrange(0, len(data), PAGE)
    data[begin : begin + PAGE] = bytes(len(data[begin : begin + PAGE]))


def add_bytes(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    data[place:place] = chance.randbytes(chance.randrange(1, 9))


DAMAGES = (flip_a_bit, flip_a_bit, flip_a_bit, change_a_byte, cut_off, cut_off_lines, clear_a_page, add_bytes)


class Readers:
    """How each file is read by what uses it; what it means is compared, and an error is a CllmError."""

    def __init__(self, run: Path) -> None:
        self.run = run
        [self.data] = (run / "data").iterdir()

    def of(self, path: Path) -> Callable[[], object]:
        if "checkpoints" in path.parts:
            return lambda: checkpoint.load(path.parent).digest
        if path.suffix == ".tokens":
            return lambda: self.tokens(path)
        if self.data in path.parents:
            return lambda: self.opened()
        return {
            "config.toml": lambda: RunFolder.open(self.run).config_path.read_bytes(),
            "ledger.jsonl": lambda: ledger.read(path),
        }[path.name]

    def tokens(self, path: Path) -> object:
        file = TokenFile.open(path)
        file.verify()
        return file.header, file.tokens.tobytes(), file.document_starts.tobytes()

    def opened(self) -> object:
        data = open_data(DataConfig(path=str(self.data)), KINDS, self.data)
        assert data.tokenizer is not None
        return data.digest, data.tokenizer.digest(), data.tokenizer.name


def is_noticed(read: Callable[[], object], meaning: object) -> bool | None:
    """Whether reading fails, as it may, with an error of cllm's; None where it succeeds and means something else."""
    try:
        return False if read() == meaning else None
    except CllmError:
        return True


@pytest.mark.parametrize("n_damages", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_damage_goes_unnoticed(n_damages: int, quick: Path) -> None:
    chance, counts = random.Random(n_damages), Counter[str]()
    for tokenizer in ("byte", "char"):
        folder = quick / tokenizer
        folder.mkdir()
        train(config(folder, f"data.tokenizer={tokenizer}", "train.digest_every=1"), folder / "run")
        damage_and_look(folder / "run", n_damages // 2, chance, counts)
        assert verify(folder / "run", build_manager()).problems == []
    # Blanks, and counts that were printed once and that no run reads.
    assert set(counts) <= {"tried", "detected", "harmless in tokenizer.json", "harmless in prepare.json"}, counts
    print(dict(counts))
    record("flips", tried=counts["tried"], detected=counts["detected"], harmless=counts["tried"] - counts["detected"])


def damage_and_look(run: Path, n_damages: int, chance: random.Random, counts: Counter[str]) -> None:
    # metrics.jsonl is for people: no run reads it, and a digit that has changed there says so nowhere.
    files = sorted(path for path in run.rglob("*.*") if path.is_file() and path.name != "metrics.jsonl")
    assert len(files) == 24
    readers = Readers(run)
    meanings = {path: readers.of(path)() for path in files}
    while n_damages:
        path, damage = chance.choice(files), chance.choice(DAMAGES)
        whole = path.read_bytes()
        data = bytearray(whole)
        damage(data, chance)
        if data == whole:
            continue
        n_damages -= 1
        path.write_bytes(data)
        noticed = is_noticed(readers.of(path), meanings[path])
        if not noticed:  # then the look at the whole folder has to show it, unless nothing means anything else
            problems = verify(run, build_manager()).problems
            assert problems or noticed is False, f"{path}: {damage.__name__} went unnoticed"
            noticed = bool(problems)
        counts["tried"] += 1
        counts["detected" if noticed else f"harmless in {path.name}"] += 1
        path.write_bytes(whole)
