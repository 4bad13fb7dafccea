"""`cllm plugins new` for each kind: the package is installed, passes its tests, lint and types, and a run uses it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import cllm
from cllm.newplugin import COMPILED, KINDS, create, use
from tests.docs.inputs import a_book

pytestmark = pytest.mark.templates

SMALL = "model.n_layer=1 model.n_embd=16 model.n_head=2 model.block_size=16 train.steps=3 train.batch_size=4 " \
        "train.eval_batches=1 schedule.warmup_steps=1"
PYTHON = [(kind, False, "") for kind in KINDS if kind != "op"]
OF_C = [(kind, True, compiler) for kind in COMPILED for compiler in ("cc", "clang")]
CLANGS = ("clang", *(f"clang-{version}" for version in range(25, 13, -1)))  # as Debian names them


@dataclass(frozen=True)
class Package:
    kind: str
    compiled: bool
    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, where: Path | None = None) -> str:
        """What a command prints, which must go well."""
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=where or self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280, check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="session", params=[*PYTHON, *OF_C], ids=lambda how: "-".join(map(str, how)))
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Made, and installed into a folder of its own beside the cllm that is tested."""
    kind, compiled, compiler = request.param
    names = CLANGS if compiler == "clang" else (compiler,)
    found = next((name for name in names if shutil.which(name)), None)
    if compiled and found is None:
        pytest.skip(f"no {compiler}")
    place = tmp_path_factory.mktemp("package")
    folder = create(kind, "moon", compiled, place / "cllm-moon", ())
    paths = [str(place / "site")]
    home = Path(str(cllm.__file__)).parent.parent
    if not home.is_relative_to(sys.prefix):  # a source tree
        paths.append(str(home))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MYPYPATH": os.pathsep.join(paths)}
    if compiled:
        environment["CC"] = str(found)
    made = Package(kind, compiled, folder, environment)
    how = ["--quiet", "--no-deps", "--no-build-isolation", "--no-compile", "--target", str(place / "site")]
    made.run("pip", "install", *how, str(folder))
    return made


def test_its_tests_pass(package: Package) -> None:
    assert " passed" in package.run("pytest", "-p", "no:cacheprovider")


def test_it_is_clean(package: Package) -> None:
    ruff = shutil.which("ruff")
    assert ruff is not None, "tox -e templates has it"
    done = subprocess.run([ruff, "check", "."], cwd=package.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    package.run("mypy", "--strict", "src", "tests", "--cache-dir", str(package.folder.parents[1] / "types"))


def test_a_run_uses_it(package: Package) -> None:
    place = package.folder.parent
    (place / "book.txt").write_text(a_book())
    (place / "quotes.txt").write_text(a_book().replace("\n\n", "\n%\n"))
    small = [word for setting in SMALL.split() for word in ("--set", setting)]
    words = shlex.split(use(package.kind, "moon", package.compiled))
    if package.kind == "dataset":
        package.run(*words, where=place)
        words = ["cllm", "train", "--data", "data/quotes"]
    if package.kind == "schedule":
        small = small[:-2]  # it has no warm-up of one step
    assert "Run folder:" in package.run(*words, *small, "--out", "run", where=place)
    assert "moon" in package.run("cllm", "plugins", "show", "moon", where=place)
