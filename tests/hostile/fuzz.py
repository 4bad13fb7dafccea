"""Fuzzes the readers of readers.py: no exception but cllm's own, no hang over 10 s, no memory beyond a bound.

    python -m tests.hostile.fuzz 60                  by mutation of sound files, 60 s over all readers
    python -m tests.hostile.fuzz --guided 3600       by atheris, which looks for code that was not run yet,
    where it is there
    python -m tests.hostile.fuzz --guided 600 squad  one of them

Guided, a process for each core has one of the readers. A finding ends it with an exit code that is not 0,
and its bytes are kept in the folder `findings`.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import importlib.util
import json
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic

from cllm.machine import default_threads
from tests.evidence import record
from tests.hostile.mutation import mutated
from tests.hostile.readers import READERS, Reader, seeds_of

LONGEST = 10  # seconds of one reading
MOST = 512 << 20  # bytes of address space beyond those that are there when a reader begins
FINDINGS = Path("findings")


def bound_memory() -> None:
    """More than this is a MemoryError, which is a finding."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST, resource.RLIM_INFINITY))


def tries(reader: Reader, folder: Path, data: bytes) -> int:
    """Read the bytes as they are, and with their seals made to fit; how many readings that were."""
    sealed = reader.sealed(data)
    readings = [data] if sealed == data else [data, sealed]
    for one in readings:
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            reader.takes(folder, one)
        except BaseException:
            FINDINGS.mkdir(exist_ok=True)
            (FINDINGS / f"{reader.name}-{hashlib.blake2b(one, digest_size=6).hexdigest()}").write_bytes(one)
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
    return len(readings)


def mutate(name: str, folder: Path, seed: int, seconds: float, most: int | None = None) -> int:
    """Try files of one reader until the time is over, or `most` of them; how many readings that were."""
    reader, seeds, chance = READERS[name], seeds_of(name), Random(f"{name} {seed}")
    for one in seeds:
        reader.takes(folder, one)
    begin, n_readings = monotonic(), 0
    for _ in range(most) if most is not None else count():
        if monotonic() - begin > seconds:
            break
        n_readings += tries(reader, folder, mutated(chance.choice(seeds), seeds, chance))
    return n_readings


def guided(name: str, folder: Path, seconds: int) -> int:
    """Let atheris look for files of one reader, in a process of its own; how many files that were."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, one in enumerate(seeds_of(name)):
        (corpus / str(number)).write_bytes(one)
    FINDINGS.mkdir(exist_ok=True)
    command = [
        sys.executable, "-m", "tests.hostile.fuzz", "--child", str(folder), name, str(corpus), "-print_final_stats=1",
        f"-max_total_time={seconds}", f"-timeout={LONGEST}", "-rss_limit_mb=1024", f"-artifact_prefix={FINDINGS}/",
    ]
    done = subprocess.run(command, text=True, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    (counted,) = (line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    return int(counted)


def child(name: str, folder: Path, options: list[str]) -> None:
    """What atheris runs: the reader, with every line of cllm told to it."""
    atheris = importlib.import_module("atheris")
    for module in [module for module in sys.modules if module.split(".")[0] in ("cllm", "tests")]:
        del sys.modules[module]
    with atheris.instrument_imports(include=["cllm", "ijson", "tomllib"]):
        readers = importlib.import_module("tests.hostile.readers")
    reader = readers.READERS[name]
    atheris.Setup([sys.argv[0], *options], lambda data: tries(reader, folder, data))
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float)
    parser.add_argument("names", nargs="*", default=list(READERS))
    parser.add_argument("--guided", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    by_coverage = options.guided and importlib.util.find_spec("atheris") is not None
    print(f"fuzzing {', '.join(options.names)}: {'guided by coverage' if by_coverage else 'by mutation'}",
          file=sys.stderr)
    if not by_coverage:
        bound_memory()
    at_once = default_threads() if by_coverage else 1
    share = options.seconds * at_once / len(options.names)

    def fuzz(name: str) -> int:
        with TemporaryDirectory() as folder:
            if by_coverage:
                return guided(name, Path(folder), max(1, round(share)))
            return mutate(name, Path(folder), options.seed, share)

    with ThreadPoolExecutor(at_once) as threads:
        counted = dict(zip(options.names, threads.map(fuzz, options.names), strict=True))
    print(json.dumps(counted))
    record("fuzz", executions=sum(counted.values()), readers=len(counted), seconds=round(options.seconds))


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(sys.argv[3], Path(sys.argv[2]), sys.argv[4:])
    else:
        main()
