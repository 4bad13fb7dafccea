"""A copy of the package whose kernels are built in a way of its own: with a sanitizer, or with a mistake.

It lies beside the installed package, which stays as it is, and runs by PYTHONPATH. Meson builds it by the project's own
files, so that its flags are the project's; only the kernels of one instruction set are made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("src", "meson.build", "meson.options")
TOOLS = ("meson", "ninja", "cython")


def missing_tools() -> list[str]:
    """Of what builds the kernels, what is not there."""
    return [name for name in TOOLS if shutil.which(name, path=_path()) is None]


def c_compiler() -> str:
    """The one that is asked for in CC, or the one that is at hand."""
    return os.environ.get("CC") or shutil.which("cc") or "gcc"


def _path() -> str:
    """Where commands are looked for: first beside this Python, which may be that of an environment nobody activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class KernelCopy:
    """The sources in a folder, configured once; `build` compiles what has changed since."""

    def __init__(self, folder: Path, isa: str, compiler: str, flags: Sequence[str] = (), optimisation: int = 1) -> None:
        self.folder, self.isa = folder, isa
        for name in SOURCES:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        for stale in folder.rglob("*.so"):
            stale.unlink()
        self._run(
            ["meson", "setup", str(folder / "build"), f"-Doptimization={optimisation}", f"-Dc_args={' '.join(flags)}"],
            CC=compiler,
        )
        listed = self._run(["ninja", "-C", str(folder / "build"), "-t", "targets", "all"])
        wanted = rf"^(src/cllm/_kernels/(?:(\w+)_{isa}|(cpu|foreign))\.[\w.-]*so):"
        self._targets = {match[2] or match[3]: match[1] for match in re.finditer(wanted, listed, re.MULTILINE)}

    @property
    def package(self) -> Path:
        return self.folder / "src" / "cllm"

    def build(self, *kernels: str) -> None:
        """These kernels, by the names of their sources, or all; raises CalledProcessError, with what was said."""
        targets = [self._targets[name] for name in kernels or self._targets]
        self.make(*targets)
        for target in targets:
            # Another file each time: a library that is overwritten while a process has it loaded ends that process.
            place = self.folder / target
            place.unlink(missing_ok=True)
            shutil.copy(self.folder / "build" / target, place)

    def make(self, *targets: str) -> None:
        """These files, below the folder `build`; raises CalledProcessError, with what was said."""
        self._run(["ninja", "-C", str(self.folder / "build"), *targets])

    def take_installed(self) -> None:
        """All other kernels from the package that is installed."""
        from cllm import kernels

        for library in Path(str(kernels.executor.__file__)).parent.glob("*.so"):
            if not (self.package / "_kernels" / library.name).exists():
                shutil.copy(library, self.package / "_kernels")

    def environment(self, **more: str) -> dict[str, str]:
        """In which Python, without `site`, imports this copy."""
        libraries = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
        path = os.pathsep.join([str(self.folder / "src"), str(ROOT), *libraries])
        return {**os.environ, "PYTHONPATH": path, "CLLM_ISA": self.isa, **more}

    def _run(self, command: list[str], **more: str) -> str:
        return subprocess.run(
            command, env={**os.environ, "PATH": _path(), **more}, cwd=self.folder, check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ).stdout
