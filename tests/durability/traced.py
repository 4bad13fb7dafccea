"""Something goes wrong at each system call of a save in turn, by strace; run by test_traced.py in its own process.

    python -m tests.durability.traced states|run FOLDER

A child stops just before it saves, strace is attached to it with one fault to inject, and it goes on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.durability.disturbed import REFUSED, Run, States

# Those that the system may refuse for want of room, and all others that have to do with files.
ROOM = ("openat", "open", "write", "pwrite64", "fsync", "close", "mkdir", "mkdirat", "rename", "ftruncate")
ANY = (
    *ROOM, "read", "pread64", "fdatasync", "lseek", "newfstatat", "fstat", "statx", "getdents64", "renameat",
    "renameat2", "unlink", "unlinkat", "rmdir", "fadvise64", "fcntl", "flock", "ioctl", "readlink", "access",
    "faccessat2",
)
# Memory and random numbers: the system has no such errors for them, but a kill may come there as well.
MEMORY = ("mmap", "munmap", "brk", "mremap")
KILLED = (*ANY, *MEMORY, "getrandom", "getpid")
FAULTS = {
    "kill": ("signal=SIGKILL", KILLED),
    "EIO": ("error=EIO", ANY),
    "ENOSPC": ("error=ENOSPC", ROOM),
    # A byte that was never written is claimed to have been; the caller goes on after it.
    "lie": ("retval=1", ("write", "pwrite64")),
}


def stop() -> Callable[[], bool]:
    """Wait until strace is there."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return lambda: False


class Strace:
    """Attached to every child that stops, with the words that say what it does."""

    def __init__(self, log: Path) -> None:
        self.log, self.words = log, [""]

    def attach(self, child: int) -> None:
        command = ["strace", "-o", str(self.log), *self.words, "-p", str(child)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert "attached" in line, f"{line}: may processes be traced here (kernel.yama.ptrace_scope)?"
        os.kill(child, signal.SIGCONT)

    def wait(self) -> str:
        """The log, when the child has ended."""
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process.wait()
        return self.log.read_text(errors="replace")


def main(what: str, folder: Path) -> None:
    """Prints how many faults were met; AssertionError at the first that something is lost by."""
    subject = {"states": States, "run": Run}[what](folder)
    strace = Strace(folder / "log")

    def step(*words: str) -> tuple[int, str]:
        subject.begin()
        strace.words = list(words)
        return subject.step(stop, strace.attach), strace.wait()

    code, log = step("-e", f"trace={','.join(KILLED)}")
    assert code == 0
    calls = Counter(re.findall(r"^(\w+)\(", log, re.MULTILINE))
    assert calls["write"] > 10 and calls["fsync"] > 8, calls
    counts: Counter[str] = Counter()
    for fault, (injection, names) in FAULTS.items():
        for name in names:
            for number in range(1, calls[name] + 1):
                where = f"{fault} at {name} number {number}"
                code, log = step("-e", f"trace={name}", "-e", f"inject={name}:{injection}:when={number}")
                allowed = (-signal.SIGKILL,) if fault == "kill" else (0, REFUSED)
                # Not every process asks for memory as often: a call that does not come kills nobody.
                came = not (fault == "kill" and name in MEMORY and code == 0)
                assert code in allowed or not came, f"{where}: exit code {code}"
                assert fault == "kill" or "INJECTED" in log, where
                try:
                    subject.refuse_losses()
                except AssertionError as error:
                    raise AssertionError(f"{where}, exit code {code}") from error
                counts[fault] += came
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
