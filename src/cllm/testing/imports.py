"""What a plugin's module may cost where plugins are only listed: a moment, and none of the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from cllm.hooks.examination import HEAVY, MILLISECONDS

TIMES = 5  # the fastest counts: others wait for whatever else runs

# What cllm has imported anyhow when it comes to plugins is not the plugin's.
CODE = """
import importlib, json, sys, time
sys.path[:] = json.loads(sys.argv[1])
import cllm.hooks
before = set(sys.modules)
begin = time.perf_counter()
importlib.import_module(sys.argv[2])
seconds = time.perf_counter() - begin
print("\\n" + json.dumps([1000 * seconds, sorted({name.partition(".")[0] for name in set(sys.modules) - before})]))
"""


def check_import_budget(
    module: str, milliseconds: float = MILLISECONDS, forbidden: Sequence[str] = HEAVY, seconds: float = 60.0
) -> None:
    """Import a plugin's module in Pythons of its own. Raises AssertionError where it takes long or brings heavy ones.

    milliseconds: that the fastest of some imports may take, cllm.hooks not counted. forbidden: packages that it may
    not import: parts are named by "package.module:attribute" and imported when a run uses them. seconds: after which
    it counts as hanging.
    """
    times = []
    for _ in range(TIMES):
        took, brought = imported(module, seconds)
        heavy = [name for name in forbidden if name in brought]
        assert not heavy, f"{module} imports {', '.join(heavy)}; name its parts by \"package.module:attribute\" instead"
        times.append(took)
        if took <= milliseconds:
            return
    raise AssertionError(f"{module} takes {min(times):.0f} ms to import, more than {milliseconds:.0f}")


def imported(module: str, seconds: float) -> tuple[float, list[str]]:
    """Milliseconds that the import of a module takes in a new Python, and the packages that it brings."""
    command = [sys.executable, "-c", CODE, json.dumps(sys.path), module]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{module} is not imported after {seconds:g} s") from None
    assert done.returncode == 0, f"{module} cannot be imported:\n{done.stderr}"
    took, brought = json.loads(done.stdout.splitlines()[-1])
    return took, brought
