"""CFLAGS from outside that break numerics rule 6 end the build with a sentence, not in other bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.compiling import compiled, needs_a_compiler

SOURCE = '#include "mathd.h"\nint main(void) { return (int)d_exp(0.0) - 1; }\n'


@needs_a_compiler
@pytest.mark.parametrize("flags", [(), ("-O3",), ("-O0",), ("-fno-math-errno", "-fno-trapping-math")])
def test_flags_that_change_no_bit_are_taken(flags: tuple[str, ...], tmp_path: Path) -> None:
    done = compiled(SOURCE, tmp_path, *flags)
    assert done.returncode == 0, done.stderr


@needs_a_compiler
@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast", "-ffinite-math-only"])
def test_flags_that_change_bits_end_the_build(flag: str, tmp_path: Path) -> None:
    done = compiled(SOURCE, tmp_path, flag)
    assert done.returncode != 0
    assert "rule 6" in done.stderr
