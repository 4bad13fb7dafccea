"""philox.h against plain Python, also where a mask has more blocks than 32 bits count."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm.philox import philox4x32
from tests.kernels.compiling import needs_a_compiler, printed

OP, SAMPLE, BATCH, KEY = 41, 5, 7, (1234, 4321)
SOURCE = """
#include <stdio.h>
#include "philox.h"
int main(void)
{
    uint32_t out[4 * PHILOX_BLOCKS];
    philox_blocks(out, %dull, %d, %d, %d, %d, %d);
    for (int i = 0; i < 4 * PHILOX_BLOCKS; i++) printf("%%u ", out[i]);
    return 0;
}
"""


@needs_a_compiler
@pytest.mark.parametrize("first", [0, 12345, 2**32 - 16, 2**32 - 5, 2**32, 3 * 2**32 + 9])
def test_blocks_have_the_counter_that_is_documented(first: int, tmp_path: Path) -> None:
    found = [int(word) for word in printed(SOURCE % (first, OP, SAMPLE, BATCH, *KEY), tmp_path).split()]
    counters = [(n % 2**32, OP | n // 2**32 << 16, SAMPLE, BATCH) for n in range(first, first + 16)]
    assert found == [word for counter in counters for word in philox4x32(counter, KEY)]
