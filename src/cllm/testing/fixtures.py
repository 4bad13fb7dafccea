"""Fixtures for pytest: `pytest_plugins = ["cllm.testing.fixtures"]` in a conftest.py brings them.

isolated_plugins: gathers cllm's own parts and the plugins that are named, whatever else is installed. tiny_run: trains
for a moment. cllm_command: a command line, and what it prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cllm import checkpoint
from cllm.cli import main
from cllm.config import load_config
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from cllm.hooks.reports import StepReport
from cllm.trainer import Trainer

# Text that depends on integers alone: runs of it have the same digests everywhere.
TEXT = "".join(f"The square of {n} is {n * n}, its cube {n * n * n}.\n" for n in range(400))
CONFIG: dict[str, Any] = {
    "name": "tiny",
    "model": {"block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16},
    "train": {"steps": 6, "batch_size": 5, "micro_batch_size": 1, "eval_every": 3, "eval_batches": 1, "log_every": 1},
    "schedule": {"name": "constant"},
    "checkpoint": {"every": 3},
    "sinks": {"console": False},
}


@dataclass(frozen=True)
class Done:
    """A run: its folder, its reports, and the digest of its last checkpoint."""

    folder: Path
    reports: list[StepReport]
    digest: str


@dataclass(frozen=True)
class TinyRun:
    """Trains a model of some thousand parameters for 6 steps, with a checkpoint after the third."""

    folder: Path
    plugins: Plugins

    def __call__(self, *overrides: str, out: str = "run", **options: Any) -> Done:
        """overrides: as with --set; out: the run folder; options: more arguments of Trainer."""
        with Trainer(self.config(*overrides), self.folder / out, plugins=self.plugins, **options) as trainer:
            reports = list(trainer)
        return self._done(self.folder / out, reports)

    def resumed(self, *overrides: str, out: str = "resumed", **options: Any) -> Done:
        """The same run, left after step 4 and resumed from step 3."""
        config = self.config(*overrides)
        with Trainer(config, self.folder / out, plugins=self.plugins, **options) as trainer:
            reports = list(islice(trainer, 4))
        with Trainer(config, resume=self.folder / out, plugins=self.plugins, **options) as trainer:
            reports = [*reports[:3], *trainer]
        return self._done(self.folder / out, reports)

    def config(self, *overrides: str) -> Any:
        """The resolved config of such a run."""
        text = self.folder / "text.txt"
        text.write_text(TEXT)
        data = {} if any(word.startswith("data.loader=") for word in overrides) else {"path": str(text)}
        return load_config(None, list(overrides), {**CONFIG, "data": data})

    @staticmethod
    def _done(folder: Path, reports: list[StepReport]) -> Done:
        saved = checkpoint.load_newest(folder / "checkpoints")
        assert saved is not None
        return Done(folder, reports, saved.digest)


@dataclass(frozen=True)
class Printed:
    """What a command line came to."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def isolated_plugins() -> Callable[..., Plugins]:
    """(*names, as of `-p`) -> Plugins with these and cllm's own; each of them must work."""

    def gather(*names: str) -> Plugins:
        return build_manager(names, strict=True, installed=False)

    return gather


@pytest.fixture
def tiny_run(tmp_path: Path) -> Callable[..., TinyRun]:
    """(*names, as of `-p`) -> TinyRun with these plugins and cllm's own, in the test's folder."""
    return lambda *names: TinyRun(tmp_path, build_manager(names, strict=True, installed=False))


@pytest.fixture
def cllm_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    """(*words) -> Printed: `cllm WORDS` in this process."""

    def run(*words: str) -> Printed:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as end:  # argparse's, for --help and wrong usage
            code = end.code if isinstance(end.code, int) else 2
        printed = capsys.readouterr()
        return Printed(code, printed.out, printed.err)

    return run
