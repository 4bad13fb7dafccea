"""The readers fuzzed: shortly, and always alike, by default; as long as one likes by tox -e fuzz."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.hostile import fuzz
from tests.hostile.mutation import mutated
from tests.hostile.readers import READERS, Reader, seeds_of

ROOT = Path(__file__).parents[2]
N_FILES = 300  # for each reader, by default


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.hostile.fuzz", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", READERS)
def test_sound_files_are_read_and_altered_ones_read_or_refused(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    assert [reader.takes(tmp_path, one) for one in seeds_of(name)].count(True) >= 1
    assert fuzz.mutate(name, tmp_path, seed=0, seconds=60, most=N_FILES) >= N_FILES


@pytest.mark.parametrize("name", ["tokens", "checkpoint", "incident", "ledger"])
def test_seals_are_made_to_fit(name: str) -> None:
    reader, chance = READERS[name], Random(0)
    assert all(reader.sealed(one) == one for one in seeds_of(name))
    altered = [mutated(seeds_of(name)[0], seeds_of(name), chance) for _ in range(50)]
    assert sum(reader.sealed(one) != one for one in altered) > 5


def test_the_same_seed_gives_the_same_files() -> None:
    seeds = seeds_of("squad")
    first, second = ([mutated(seeds[0], seeds, chance) for _ in range(20)] for chance in (Random(3), Random(3)))
    assert first == second and len(set(first)) > 10


def test_what_is_no_refusal_is_a_finding_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    broken = Reader("a.txt", lambda: [b"x"], lambda path: path.read_bytes().decode("ascii"))
    assert fuzz.tries(broken, tmp_path, b"x") == 1
    with pytest.raises(UnicodeDecodeError):
        fuzz.tries(broken, tmp_path, b"\xff")
    (kept,) = (tmp_path / "findings").iterdir()
    assert kept.read_bytes() == b"\xff"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc, where the size of a process stands")
def test_memory_is_bounded(tmp_path: Path) -> None:
    hungry = "import tests.hostile.fuzz as f; f.bound_memory(); bytes(f.MOST // 2); bytes(2 * f.MOST)"
    done = subprocess.run([sys.executable, "-c", hungry], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "MemoryError" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_for_ten_minutes(tmp_path: Path) -> None:
    done = run("600", "--seed", str(int.from_bytes(os.urandom(4), "little")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout).values()) > 10_000
