"""What cannot be built right is not built: Meson says why before anything is compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT
from tests.test_build import expected

# gcc but for one flag, as Microsoft's compiler does not know it.
OTHER = """#!/bin/sh
for flag; do [ "$flag" = -ffp-contract=off ] && exit 1; done
exec {cc} "$@"
"""
WINDOWS = """[binaries]
c = 'cc'
cython = 'cython'
[host_machine]
system = 'windows'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
"""


def refusal(folder: Path, *options: str, **variables: str) -> str:
    """What Meson says of a build that it does not set up."""
    assert expected("WHEEL") == "1"
    setup = ["meson", "setup", *options, str(folder / "build"), str(ROOT)]
    done = subprocess.run(setup, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def test_a_compiler_that_would_give_other_bits_is_refused(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    other = tmp_path / "other"
    other.write_text(OTHER.format(cc=compiler))
    other.chmod(0o755)
    assert "gcc does not know -ffp-contract=off" in refusal(tmp_path, CC=str(other))


def test_windows_is_refused_with_the_page_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "windows.ini").write_text(WINDOWS)
    said = refusal(tmp_path, "--cross-file", str(tmp_path / "windows.ini"))
    assert "not ported to Windows (docs/explanation/platforms.md" in said
    assert (ROOT / "docs/explanation/platforms.md").is_file()
