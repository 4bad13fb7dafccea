"""ThreadSanitizer as it works for OpenMP and Python: clang, LLVM's libomp with Archer, a launcher, kernels of its own.

gcc's libgomp is a stranger to the sanitizer, and gives false reports; Archer tells it what LLVM's OpenMP does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tools.kernelcopy import ROOT, KernelCopy, missing_tools

VERSIONS = (14, 15, 16, 17, 18, 19, 20)
ANNOUNCED = "Archer detected OpenMP application with TSan"
REPORT = "WARNING: ThreadSanitizer"
# The macro: what is included first decides what the C library declares, and here that is seen.h.
SANITIZED = ("-g", "-fsanitize=thread", "-D_GNU_SOURCE=", "-include", str(ROOT / "tests/race/seen.h"))


@dataclass(frozen=True)
class Outcome:
    code: int | None  # None: it had to be ended
    output: str
    reports: list[str]  # one a race

    @property
    def is_void(self) -> bool:
        """Whether the sanitizer did not know what OpenMP does, so that nothing follows from it."""
        return ANNOUNCED not in self.output


def clang_and_archer() -> tuple[str, Path] | None:
    """The first version of both that this machine has."""
    for version in VERSIONS:
        compiler, archer = shutil.which(f"clang-{version}"), Path(f"/usr/lib/llvm-{version}/lib/libarcher.so")
        if compiler and archer.exists():
            return compiler, archer
    return None


def missing() -> list[str]:
    """What is to be installed before a race build can be made, in words."""
    found = []
    if clang_and_archer() is None:
        found.append("clang and libomp with Archer: apt-get install clang-14 libomp-14-dev libclang-rt-14-dev")
    if shutil.which("setarch") is None:
        found.append("setarch: apt-get install util-linux")
    if missing_tools():
        found.append(f"{', '.join(missing_tools())}: pip install meson ninja cython")
    return found


class RaceBuild:
    """All kernels of one instruction set under the sanitizer, and a Python that runs them."""

    def __init__(self, folder: Path, isa: str) -> None:
        found = clang_and_archer()
        assert found is not None, "look at `missing` first"
        compiler, self._archer = found
        self._folder = folder
        (folder / "copy").mkdir()
        self.copy = KernelCopy(folder / "copy", isa, compiler, SANITIZED)
        self.copy.build()
        self._launcher = folder / "pytsan"
        _compile_launcher(compiler, self._launcher)
        # By which others' code is compiled as the kernels are: plugins, and what the tests of the kernel ABI compile.
        self.compiling = {"CC": compiler, "LDSHARED": f"{compiler} -shared", "CFLAGS": "-g -fsanitize=thread"}

    def install(self, package: Path) -> None:
        """A compiled plugin, under the sanitizer too; the copy's Python finds it."""
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
        # From a copy: pip builds in the folder itself, and would find there what another compiler has left.
        source = shutil.copytree(package, self._folder / package.name, ignore=shutil.ignore_patterns("build", "*.c"))
        subprocess.run(
            [*command, "--target", str(self.copy.folder / "src"), str(source)], check=True, text=True,
            env={**os.environ, **self.compiling}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )

    def run(self, arguments: list[str], timeout: float, halts: bool = False) -> Outcome:
        """Python with these arguments, in the project's folder. halts: at the first report."""
        place = self._folder / "report"
        for old in self._folder.glob("report.*"):
            old.unlink()
        options = f"ignore_noninstrumented_modules=1 exitcode=66 halt_on_error={int(halts)} log_path={place}"
        environment = self.copy.environment(
            PYTHONHOME=sys.base_prefix, OMP_TOOL_LIBRARIES=str(self._archer), ARCHER_OPTIONS="verbose=1",
            TSAN_OPTIONS=options, OMP_WAIT_POLICY="passive", **self.compiling,
        )
        code, output = run_to_end(["setarch", "-R", str(self._launcher), *arguments], environment, timeout)
        texts = "".join(path.read_text(errors="replace") for path in sorted(self._folder.glob("report.*")))
        return Outcome(code, output, [REPORT + text for text in texts.split(REPORT)[1:]])


def run_to_end(command: list[str], environment: dict[str, str], timeout: float) -> tuple[int | None, str]:
    """Its code, None where it had to be ended, and what it printed."""
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, timeout=timeout, text=True, errors="replace", check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        return None, said if isinstance(said, str) else said.decode(errors="replace")
    return done.returncode, done.stdout


def python_library() -> list[str]:
    """How a program is linked with this Python."""
    folder, name = sysconfig.get_config_var("LIBDIR"), f"python{sysconfig.get_config_var('LDVERSION')}"
    return [f"-L{folder}", f"-Wl,-rpath,{folder}", f"-l{name}", *sysconfig.get_config_var("LIBS").split()]


def _compile_launcher(compiler: str, out: Path) -> None:
    subprocess.run(
        [
            compiler, "-O1", "-g", "-fsanitize=thread", "-fopenmp", f"-I{sysconfig.get_path('include')}",
            str(ROOT / "tests/race/pytsan.c"), *python_library(), "-lm", "-Wl,--export-dynamic", "-o", str(out),
        ],
        check=True,
    )
