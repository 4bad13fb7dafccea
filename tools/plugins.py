"""Installs each package of plugins/ beside the cllm that is installed here, and runs its tests in its own folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALONE = ("--quiet", "--no-deps", "--no-build-isolation")
PLUGINS = Path(__file__).resolve().parent.parent / "plugins"


def run(*arguments: str, where: Path | None = None) -> bool:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=where, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    """Returns 1 if a package does not install or a test fails, or if there is no package."""
    packages = sorted(path.parent for path in PLUGINS.glob("*/pyproject.toml"))
    failed = [] if packages else ["plugins/ holds no package"]
    for package in packages:
        print(f"--- {package.name}", flush=True)
        # Neither dependencies nor a build environment, so that no index answers for the cllm under test.
        if not run("pip", "install", *ALONE, str(package)) or not run("pip", "check"):
            failed.append(f"{package.name}: not installed")
        elif not run("pytest", *arguments, where=package):
            failed.append(f"{package.name}: tests")
    for line in failed:
        print(f"failed: {line}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
