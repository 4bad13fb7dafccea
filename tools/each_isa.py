"""Runs pytest once for every instruction set of this build that this processor runs, best first.

With --others first among the arguments, without the best one, on which everything else is tested.
"""

from __future__ import annotations

import os
import subprocess
import sys

from cllm._kernels import cpu

KNOWN = ("v4", "v3", "portable")


def main(arguments: list[str]) -> int:
    """Returns the number of instruction sets whose tests failed."""
    failed, sets = [], cpu.instruction_sets()
    if arguments[:1] == ["--others"]:
        sets, arguments = sets[1:], arguments[1:]
    for isa in sets:
        print(f"--- CLLM_ISA={isa}", flush=True)
        environment = {**os.environ, "CLLM_ISA": isa}
        if subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode:
            failed.append(isa)
    absent = [isa for isa in KNOWN if isa not in cpu.instruction_sets()]
    print(f"failed: {', '.join(failed) or 'none'}; not run by this processor: {', '.join(absent) or 'none'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
