"""The folder of one run: where its files are, who may write them, and how it is made unlike any other.

    runs/NAME-N/
      config.toml      the resolved config, written first, under a line that seals it
      metrics.jsonl    what the run reported, a line each time
      metrics.csv      the same as a table, where the config has the sink csv
      ledger.jsonl     the digests of its state, see ledger.py
      checkpoints/     see checkpoint.py
      incidents/       what stopped a step, see receipt.py; there is none before the first
      lock             held by the process that trains here

Reading needs no lock: files are replaced in one step or grow by whole lines.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from types import TracebackType

from cllm import atomic, csvlines, generations, jsonl
from cllm.digest import bytes_digest
from cllm.errors import RunFolderError
from cllm.folderlock import FolderLock
from cllm.ledger import Ledger

LOCK = "lock"
SEAL = b"# A run's config: settings are changed by --set, not here. The digest of what follows: "


class RunFolder:
    """A run folder: locked until `close` if from `create` or `resume`, only to be read if from `open`."""

    def __init__(self, path: Path, lock: FolderLock | None) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, root: Path = Path("runs"), name: str = "run", out: Path | None = None) -> RunFolder:
        """Make and lock root/NAME-N with the next free N or, if given, `out`, which must be absent or empty.

        Two processes never get the same folder. RunFolderError if `out` is used, or the disk refuses.
        """
        with atomic.disk_errors(RunFolderError, "run folder", out or root):
            path = _next_free(root, name) if out is None else _empty(out)
            return cls._locked(path, used=False)

    @classmethod
    def open(cls, path: Path, who: str = "run folder") -> RunFolder:
        """A run folder to read from; RunFolderError, raised for `who`, if it is not one or its config was altered."""
        with atomic.disk_errors(RunFolderError, "run folder", path):
            if (path / "config.toml").is_file():
                check_seal(path / "config.toml")
                return cls(path, None)
            came = f"there is no folder {path}" if not path.exists() else f"{path} is a file"
            if path.is_dir():
                came = f"{path} has no config.toml"
        raise RunFolderError(
            who,
            came,
            "the folder of a run",
            "give the folder that the run named when it started, such as runs/NAME-1",
        )

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """Open and lock a run folder to go on in it, and remove what a killed process left half-written."""
        cls.open(path, "resume")
        with atomic.disk_errors(RunFolderError, "run folder", path):
            return cls._locked(path, used=True)

    @classmethod
    def _locked(cls, path: Path, *, used: bool) -> RunFolder:
        lock = FolderLock(path / LOCK)
        try:
            if not used:
                _refuse_used(path)
            atomic.remove_temporaries(path)
            atomic.remove_temporaries(path / "incidents")
            (path / "checkpoints").mkdir(exist_ok=True)
            generations.remove_temporaries(path / "checkpoints")
            atomic.sync_folder(path)
        except BaseException:
            lock.release()
            raise
        return cls(path, lock)

    @property
    def config_path(self) -> Path:
        """The resolved config."""
        return self.path / "config.toml"

    @property
    def metrics_path(self) -> Path:
        """The reports of the run."""
        return self.path / "metrics.jsonl"

    @property
    def ledger_path(self) -> Path:
        """The digests of the run."""
        return self.path / "ledger.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def incidents(self) -> Path:
        """The folder of the incidents."""
        return self.path / "incidents"

    def write_config(self, text: str) -> None:
        """Write config.toml and its seal in one step; RunFolderError where the disk refuses."""
        with atomic.disk_errors(RunFolderError, "run folder", self.config_path):
            atomic.write_file(self.config_path, _seal(text.encode()) + text.encode())

    def newest_checkpoint(self) -> Path | None:
        """The newest checkpoint by name, which may not verify: checkpoint.load_newest looks closer."""
        return next(iter(generations.generations(self.checkpoints)), None)

    def cut_after(self, n_batches: int) -> None:
        """Take back what was written after `n_batches` batches were consumed: a resumed run will do it again."""
        jsonl.cut_from(self.metrics_path, n_batches)  # a report has the index of its batch
        csvlines.cut_csv_from(self.path / "metrics.csv", n_batches)
        jsonl.cut_from(self.ledger_path, n_batches + 1)  # a record has their number

    def open_metrics(self) -> jsonl.LineWriter:
        """A writer that appends to metrics.jsonl."""
        return jsonl.LineWriter(self.metrics_path)

    def open_ledger(self) -> Ledger:
        """A writer that appends to ledger.jsonl."""
        return Ledger(self.ledger_path)

    def discard(self) -> None:
        """Remove the folder of a run that could not begin."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let another process train here; closing twice is allowed."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with atomic.disk_errors(RunFolderError, "run folder", self.path):
                lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_seal(config: Path) -> None:
    """RunFolderError unless a run's config.toml is as the run wrote it: what it says decides every later bit."""
    content = config.read_bytes()
    line, newline, text = content.partition(b"\n")
    if line + newline != _seal(text):
        raise RunFolderError(
            "run folder", f"{config} has been altered: its first line does not fit the rest",
            "the config as the run wrote it",
            "restore it from a backup, and change settings by --set; or begin a run with --init-from and a config of "
            "your own",
        )


def _seal(text: bytes) -> bytes:
    return SEAL + bytes_digest(text).encode() + b"\n"


def _next_free(root: Path, name: str) -> Path:
    if not re.fullmatch(r"[^/\\\0]+", name) or name.startswith("."):
        raise RunFolderError("run folder", f"name = {name!r}", "a file name", "choose one without slashes")
    root.mkdir(parents=True, exist_ok=True)
    number = max(_numbers(root, name), default=0)
    while True:
        number += 1
        path = root / f"{name}-{number}"
        try:
            atomic.make_folder(path)
            return path
        except FileExistsError:  # another process was faster, or a file has that name
            continue


def _numbers(root: Path, name: str) -> list[int]:
    pattern = re.compile(re.escape(name) + r"-([1-9][0-9]*)")
    return [int(match[1]) for entry in os.listdir(root) if (match := pattern.fullmatch(entry))]


def _empty(out: Path) -> Path:
    if out.is_file():
        raise _used(f"{out} is a file")
    out.mkdir(parents=True, exist_ok=True)
    _refuse_used(out)
    return out


def _refuse_used(path: Path) -> None:
    """Only a lock and half-written files, which a killed start leaves, do not count as use."""
    names = [name for name in os.listdir(path) if name != LOCK and not name.startswith(atomic.TEMPORARY)]
    used = [name for name in names if name != "checkpoints" or any((path / name).iterdir())]
    if used:
        raise _used(f"{path} is not empty: it has {sorted(used)[0]}", ", or go on with that run by --resume")


def _used(came: str, or_else: str = "") -> RunFolderError:
    return RunFolderError("run folder", came, "an empty folder or a new name", f"choose another --out{or_else}")
