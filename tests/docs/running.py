"""Runs what a page shows, in a folder with what its commands take: also by another Python than this one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.docs.inputs import a_book, a_squad_file
from tests.docs.markdown import ROOT, Block, blocks
from tests.docs.output import difference

BASH = shutil.which("bash") or "bash"


def lay_out(folder: Path) -> None:
    """book.txt and train-v2.0.json, both small and generated, configs/ and docs/examples/."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    examples = ROOT / "docs" / "examples"
    if examples.is_dir():
        shutil.copytree(examples, folder / "docs" / "examples")
    (folder / "book.txt").write_text(a_book(), encoding="utf-8")
    (folder / "data").mkdir()
    (folder / "data" / "shakespeare.txt").write_text(a_book(), encoding="utf-8")
    (folder / "train-v2.0.json").write_text(a_squad_file(), encoding="utf-8")


def run_page(page: Path, folder: Path, environment: dict[str, str], python: str) -> None:
    """Run its blocks in their order, console blocks by bash, and compare what they print with what it shows."""
    digests: dict[str, str] = {}
    cells: list[Block] = []
    for block in blocks(page):
        if block.note("cell"):
            cells.append(block)
        elif not block.note("skip"):
            run_block(block, folder, environment, python, digests)
    if cells:  # of a notebook: one program
        _run_python(cells, folder, environment, python)


def run_block(block: Block, folder: Path, environment: dict[str, str], python: str, digests: dict[str, str]) -> str:
    """Returns what the last of its commands printed; "" for a block that is a file, or that nobody runs."""
    target = block.note("file")
    if target is not None:
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / target).write_text(block.adapted(block.text), encoding="utf-8")
    elif block.language == "python":
        return _run_python([block], folder, environment, python)
    elif block.language == "console":
        return _run_commands(block, folder, environment, digests)
    return ""


def _run_python(parts: list[Block], folder: Path, environment: dict[str, str], python: str) -> str:
    done = _run([python, "-c", "\n".join(part.adapted(part.text) for part in parts)], folder, environment)
    assert done.returncode == 0, f"{parts[0].place}:\n{done.stdout}"
    return done.stdout


def _run_commands(block: Block, folder: Path, environment: dict[str, str], digests: dict[str, str]) -> str:
    commands = block.commands()
    for number, (command, shown) in enumerate(commands, 1):
        wanted = int(block.note("exit") or 0) if number == len(commands) else 0
        run = _run([BASH, "-c", block.adapted(command)], folder, environment)
        assert run.returncode == wanted, f"{block.place}: {command}\nexit {run.returncode}\n{run.stdout}"
        problem = difference(shown, run.stdout, digests)
        assert problem is None, f"{block.place}: {command}\n{problem}"
    return run.stdout


def _run(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, encoding="utf-8", errors="replace", timeout=120, check=False,
    )
