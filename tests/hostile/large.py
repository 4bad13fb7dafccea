"""SQuAD JSON of any size through a pipe into `cllm prepare`: what it takes of memory, and how fast it goes.

    python -m tests.hostile.large 10     10 GB, of which the tokens alone come to the disk, twice for a while
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter

from tests.data.squad_shape import article
from tests.evidence import record

N_ARTICLES = 40  # different ones, as large as SQuAD's, of which the stream is made; each has its own title
END = b"]}"

# Runs a command and prints, at last, the most kB that were resident: of this process, which starts no other. (The
# system's account of a child that has ended counts what its parent had when it made it.)
MEASURED = """
import sys
from cllm.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


@dataclass(frozen=True)
class Measured:
    """What became of a stream."""

    n_bytes: int
    n_pieces: int  # END is none
    seconds: float
    peak: int  # bytes of memory, at the most
    report: dict[str, int]  # as `cllm prepare --json` prints it


def articles() -> Iterator[bytes]:
    """Endlessly many, without their title."""
    made = [json.dumps({**article(number), "title": ""}).encode() for number in range(N_ARTICLES)]
    return cycle(one.replace(b'"title": "", ', b"") for one in made)


def pieces(n_bytes: int) -> Iterator[bytes]:
    """A file of about n_bytes, an article at a time."""
    for number, one in enumerate(articles()):
        begin = b", " if number else b'{"version": "v2.0", "data": ['
        piece = b'%b{"title": "%d", %b' % (begin, number, one[1:])
        n_bytes -= len(piece)
        yield piece
        if n_bytes <= 0:
            break
    yield END


def records(n_bytes: int, first: bytes, record: bytes) -> Iterator[bytes]:
    """A file of about n_bytes of equal records, some 100 kB at a time."""
    yield first
    piece = record * (100_000 // len(record))
    for _ in range(n_bytes // len(piece)):
        yield piece


def prepared(loader: str, pieces: Iterable[bytes], out: Path, *options: str) -> Measured:
    """Let `cllm prepare` read the pieces from its standard input, in a process of its own."""
    command = [sys.executable, "-c", MEASURED, "prepare", loader, "/dev/stdin", "--out", str(out), "--json", *options]
    begin = perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        n_written = n_pieces = 0
        for piece in pieces:
            process.stdin.write(piece)
            n_written += len(piece)
            n_pieces += piece is not END
        process.stdin.close()
        *report, peak = process.stdout.read().splitlines()
    assert process.returncode == 0
    return Measured(n_written, n_pieces, perf_counter() - begin, int(peak) << 10, json.loads(b"".join(report)))


def tell(done: Measured) -> None:
    gigabytes, peak, rate = done.n_bytes / 1e9, done.peak / 1e6, done.n_bytes / 1e6 / done.seconds
    counts = f"{done.n_pieces:,} articles, {done.report['n_tokens']:,} tokens"
    print(f"{gigabytes:.2f} GB, {counts} in {done.seconds:.0f} s: {rate:.1f} MB/s, {peak:.0f} MB of memory at the most")
    record("largest_input", gigabytes=round(gigabytes, 2), peak_mb=round(peak), mb_per_second=round(rate, 1))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        tell(prepared("squad", pieces(int(float(sys.argv[1]) * 1e9)), Path(folder) / "out"))


if __name__ == "__main__":
    main()
