"""The quick form of the race suite: the kernels' C in a program of its own under ThreadSanitizer, without Python.

    python -m tools.driver [--bits-only]

Python only makes what the program (tests/race/driver.c) works on: one step of each way of sharing, with the gradient
that must come out. Models in bfloat16 are left to the race suite: their kernels are chosen when Python loads a module.
--bits-only: compiled by the C compiler that is at hand, without the sanitizer, which is part of the default tox.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory

from cllm import kernels
from cllm._kernels import cpu
from tests.models import Tree, a_batch, a_model
from tests.race.dump import dump
from tests.sharing import ALONE, WAYS
from tools.kernelcopy import ROOT, KernelCopy, c_compiler
from tools.sanitizer import ANNOUNCED, REPORT, SANITIZED, clang_and_archer, missing, python_library, run_to_end

N_STEPS = 8
PATIENCE = 600.0
MODELS = ("plain", "dropout", "odd")
KERNELS = ROOT / "src/cllm/_kernels"
MODULES = tuple(name for name in kernels.OP_MODULES if not name.endswith("_bf16"))
TABLE = """#include "{generated}"
#include "driver.h"
const Named {module}_kernels[] = {{ {named} {{0, 0}} }};
"""
EXECUTOR = """#define EXECUTOR_C "{generated}"
#define CALL(name) {mangled}##name
#include "{root}/tests/race/driver.c"
"""
SUM = """#include "{generated}"
int32_t (*const merge_sum)(void *, int64_t, int64_t, float *, const float *) = {mangled}merge_sum;
"""
ALL = '#include "driver.h"\nextern const Named {declared};\nconst Named *const all_kernels[] = {{{tables}, 0}};\n'


class Driver:
    """The program, in a folder."""

    def __init__(self, folder: Path, isa: str, compiler: str, is_sanitized: bool) -> None:
        (folder / "copy").mkdir()
        self._folder, self._isa, self._compiler = folder, isa, compiler
        self._flags = ["-fsanitize=thread"] if is_sanitized else []
        self._copy = KernelCopy(folder / "copy", isa, compiler, SANITIZED if is_sanitized else ())
        self._commands = json.loads((self._copy.folder / "build/compile_commands.json").read_text())
        self._tiles = f"src/cllm/_kernels/libtile_{isa}.a"
        self._copy.make(self._tiles, *(self._generated(name) for name in (*MODULES, "reduce", "executor")))
        objects = [self._compiled(name, self._source(name)) for name in (*MODULES, "reduce", "all", "executor")]
        self._link(objects)

    def run(self, files: Sequence[Path], archer: Path | None) -> tuple[int | None, str]:
        words = [str(self._folder / "driver"), str(N_STEPS), *map(str, files)]
        if archer is None:
            return run_to_end(words, dict(os.environ), PATIENCE)
        environment = {
            **os.environ, "OMP_TOOL_LIBRARIES": str(archer), "ARCHER_OPTIONS": "verbose=1",
            "TSAN_OPTIONS": "exitcode=66 ignore_noninstrumented_modules=1", "OMP_WAIT_POLICY": "passive",
        }
        return run_to_end(["setarch", "-R", *words], environment, PATIENCE)

    def _generated(self, module: str) -> str:
        return f"src/cllm/_kernels/{module}.c"

    def _mangled(self, module: str) -> str:
        """What Cython puts before the name of a C function of this module."""
        return f"__pyx_f_4cllm_8_kernels_{len(module)}{module}_"

    def _source(self, module: str) -> str:
        generated, mangled = self._generated(module), self._mangled(module)
        if module == "executor":
            return EXECUTOR.format(generated=generated, mangled=mangled, root=ROOT)
        if module == "all":
            tables = [f"{name}_kernels" for name in MODULES]
            return ALL.format(declared=", ".join(f"{table}[]" for table in tables), tables=", ".join(tables))
        if module == "reduce":
            return SUM.format(generated=generated, mangled=mangled)
        table = re.findall(r'"(\w+)": kernel_capsule\((\w+)\)', (KERNELS / f"{module}.pyx").read_text())
        named = " ".join(f'{{"{name}", {mangled}{function}}},' for name, function in table)
        return TABLE.format(generated=generated, module=module, named=named)

    def _compiled(self, module: str, source: str) -> str:
        """Compiled as the project compiles the module that it includes; the object's path."""
        path = self._folder / f"{module}.c"
        path.write_text(source)
        like = f"/{'executor' if module == 'all' else module}_{self._isa}."
        command = shlex.split(next(c["command"] for c in self._commands if like in c["output"]))
        flags = command[1 : command.index("-MD")]
        self._call(*flags, f"-I{ROOT}/tests/race", "-I.", "-c", path, "-o", f"{path}.o")
        return f"{path}.o"

    def _link(self, objects: Sequence[str]) -> None:
        self._call(
            *self._flags, "-fopenmp", *objects, self._tiles, *python_library(), "-lm",
            "-o", self._folder / "driver",
        )

    def _call(self, *words: str | Path) -> None:
        subprocess.run(
            [self._compiler, *map(str, words)], cwd=self._copy.folder / "build", check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )


def dumps(folder: Path) -> list[Path]:
    """One file for each model and way of sharing in which a compiled reducer folds."""
    files = []
    for name in MODELS:
        program, parameters = a_model(name)
        batch = a_batch(program, 7)
        expected = ALONE.engine(program, 7, micro_batch_size=1).gradient(parameters, batch, Tree()).gradient.copy()
        for number, way in enumerate(way for way in WAYS if hasattr(way.reducer, "__cllm_reducer__")):
            files.append(folder / f"{name}-{number}")
            dump(files[-1], way.engine(program, 7, micro_batch_size=1), program, parameters, batch, expected)
    return files


def main(arguments: list[str]) -> int:
    """Returns 1 for a report, another bit or a void run."""
    is_sanitized = arguments != ["--bits-only"]
    found = clang_and_archer() if is_sanitized else (c_compiler(), None)
    if found is None or (is_sanitized and missing()):
        raise SystemExit("\n".join(["The driver needs what this machine lacks:", *missing()]))
    compiler, archer = found
    isa = next(isa for isa in cpu.instruction_sets() if isa != "v4")
    with TemporaryDirectory() as name:
        folder = Path(name)
        code, output = Driver(folder, isa, compiler, is_sanitized).run(dumps(folder), archer)
    print(output)
    is_void = is_sanitized and ANNOUNCED not in output
    print(f"ended with {code}, {output.count(REPORT)} reports{', Archer did not announce itself: VOID' * is_void}")
    return int(code != 0 or is_void or REPORT in output)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CalledProcessError as failed:
        raise SystemExit(f"{' '.join(failed.cmd)}\n{failed.stdout}") from None
