"""Every command and every piece of Python on the pages runs, in a folder of the page's own, in the page's order.

What is too long for a test is made short by notes in comments before the block: see markdown.py. The folder has
book.txt, train-v2.0.json (both small and generated), configs/ and docs/examples/.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import sys
import tomllib
from operator import attrgetter
from pathlib import Path

import msgspec
import pytest

from cllm.config import Config, from_mapping
from tests.data.helpers import huggingface_tokenizers
from tests.docs.markdown import PAGES, ROOT, Block, blocks
from tests.docs.running import lay_out, run_page
from tests.kernels.compiling import COMPILER

RUN = ("console", "python")
DATA = ("toml", "json")
SHOWN_ONLY = ("", "text", "c", "cython", "dockerfile")
BY_PLACE = attrgetter("place")


def hatchling() -> object:
    """What builds the packages of the tutorials; tox -e docs has it."""
    if os.environ.get("CLLM_EXPECT_ON_PATH") == "1":
        return importlib.import_module("hatchling")
    return pytest.importorskip("hatchling", reason="tox -e docs has it")


def numba() -> object:
    return pytest.importorskip("numba", reason="pip install numba")


def compiler() -> None:
    if COMPILER is None:
        pytest.skip("no C compiler")


def setuptools() -> object:
    """And those of the packages in C, by a C compiler."""
    compiler()
    if os.environ.get("CLLM_EXPECT_ON_PATH") == "1":
        return importlib.import_module("setuptools")
    return pytest.importorskip("setuptools", reason="tox -e docs has it")


NEEDS = {
    "tokenizers": huggingface_tokenizers, "hatchling": hatchling, "setuptools": setuptools, "numba": numba,
    "compiler": compiler,
}
names = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("cllm") is None:
        give_up = pytest.fail if os.environ.get("CLLM_EXPECT_ON_PATH") == "1" else pytest.skip
        give_up("the command cllm is not on the PATH: install the package, as tox does")
    lay_out(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    # `python -m benchmarks.compare`, as from the project's folder; and what a page installs, for that page alone
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path / "installed")]))
    monkeypatch.delenv("CLLM_ISA", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", [n for n in names if any(b.language in RUN for b in blocks(ROOT / n))])
def test_everything_on_the_page_runs(name: str, folder: Path) -> None:
    for package in {block.note("needs") for block in blocks(ROOT / name)} - {None}:
        NEEDS[str(package)]()
    run_page(ROOT / name, folder, dict(os.environ), sys.executable)


def test_a_page_says_what_its_blocks_are() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.language in RUN + DATA + SHOWN_ONLY, f"{block.place}: what is {block.language!r}?"
            assert block.language == "console" or not re.search(r"^\$ ", block.text, re.MULTILINE), block.place
            assert block.language != "console" or block.commands(), f"{block.place}: no command after '$ '"


def test_a_reader_is_told_the_names_of_files() -> None:
    for page in PAGES:
        seen = re.sub(r"<!-- .*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for block in blocks(page):
            assert (block.note("file") or "") in seen, f"{block.place}: its file is named in a comment alone"


def test_only_what_no_test_can_do_is_skipped() -> None:
    skipped = {c for page in PAGES for b in blocks(page) if b.note("skip") for c, _ in b.commands()}
    allowed = re.compile(
        r"git clone |cd cllm|python3? -m venv |python -m tests\.docs|pip install |tox( |$)|perf "
        r"|python -m benchmarks\.generation "  # needs PyTorch
        r"|python -m benchmarks\.builds "  # compiles for minutes
        r"|apt-get install "
        r"|pkill -USR1 "  # to a run that has to go on meanwhile
        r"|cllm plugins show (crystal|hf|parquet|robust|tensorboard|zclip)$|cd plugins/cllm-\w+ "  # installed in tox's
        r"|cllm prepare (parquet\.rows|hf\.dataset|text book\.txt --tokenizer hf\.tokenizer) "  # environment plugins
        r"|mpiexec |module load |cllm prepare text books |cllm (digest|train --resume) runs/shakespeare-1"  # several
        r"|docker (build|run) "  # needs a daemon
        r"|tensorboard --logdir |cllm watch |ssh "  # serve until they are stopped
    )
    assert all(allowed.match(command) for command in skipped), skipped


@pytest.mark.parametrize("block", [b for page in PAGES for b in blocks(page) if b.language in DATA], ids=BY_PLACE)
def test_what_is_shown_as_data_is_what_it_says(block: Block) -> None:
    """TOML is TOML, and a valid config if all its tables are a config's; JSON is a document on each line."""
    if block.language == "json":
        assert all(isinstance(json.loads(line), dict) for line in block.text.splitlines())
        return
    tables = tomllib.loads(block.text)
    if set(tables) <= {field.name for field in msgspec.structs.fields(Config)}:
        from_mapping({"data": {"path": "book.txt"}, "train": {"steps": 1}, **tables})
    else:
        known = {"project", "build-system", "tool"}
        assert set(tables) <= known, f"{block.place}: neither a config nor a pyproject.toml"

