"""Show what this machine and this build can do; with --assert, a check for scripts."""

from __future__ import annotations

import argparse
import platform
import sys
from typing import Any

from cllm import env, kernels
from cllm._kernels import cpu
from cllm.cli.gathering import gathered
from cllm.cli.options import add_json, add_plugin_options, print_json
from cllm.errors import UsageError
from cllm.hooks import api
from cllm.machine import cores, default_threads, memory_limit
from cllm.opened import ABI
from cllm.version import __version__

EXAMPLE = """\
examples:
  cllm doctor
  cllm doctor --assert openmp=1 isa=v4"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--assert", dest="expected", nargs="+", default=[], metavar="NAME=VALUE",
                        help="exit with 1 unless each fact has this value")
    add_json(parser)
    add_plugin_options(parser)


def facts() -> dict[str, Any]:
    """Name -> value; the names are what --assert takes."""
    available = cores()
    return {
        "cllm": __version__,
        "numerics": kernels.NUMERICS_VERSION,
        "hooks_api": api.version(),
        "kernel_abi": ABI,
        "python": platform.python_version(),
        "isa": kernels.ISA,
        "isa_reason": f"CLLM_ISA={env.isa()}" if env.isa() else f"best of {', '.join(cpu.instruction_sets())}",
        "bf16": "native" if kernels.BF16_NATIVE else "emulated",
        "openmp": int(kernels.OPENMP > 0),
        "openmp_version": kernels.OPENMP,
        "openmp_library": " ".join(cpu.openmp_libraries()) or None,
        "abi3": int(cpu.limited_api()),
        "optimised": int(cpu.optimised()),
        "checked": int(cpu.checked()),
        "threads": default_threads(),
        "cores_physical": available.physical,
        "cores_logical": available.logical,
        "cores_affinity": available.affinity,
        "cores_quota": available.quota,
        "memory_limit": memory_limit(),
    }


def run(options: argparse.Namespace) -> int:
    found = facts()
    rows = gathered(options).list()
    if options.expected:
        return _assert(found, options.expected)
    if options.json:
        print_json({**found, "plugins": {row.name: row.state for row in rows}})
        return 0
    for name, value in found.items():
        print(f"{name:15} {value}")
    if not found["openmp"]:
        print("this is a serial build: one thread runs, with the same bits")
    for row in rows:
        print(f"plugin          {row.name} {row.version}: {row.state}")
    return 0


def _assert(found: dict[str, Any], expected: list[str]) -> int:
    failed = 0
    for item in expected:
        name, equals, value = item.partition("=")
        if not equals or name not in found:
            raise UsageError("doctor", item, f"NAME=VALUE, a name of {', '.join(found)}", "correct it")
        if str(found[name]) != value:
            print(f"{name} is {found[name]}, not {value}", file=sys.stderr)
            failed = 1
    return failed
