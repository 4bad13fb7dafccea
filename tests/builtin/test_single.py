"""The communicator of one process hears what it says."""

from __future__ import annotations

import numpy as np
import pytest

from cllm.builtin.single import Single


def test_it_is_with_itself() -> None:
    alone = Single()
    assert (alone.rank, alone.size, alone.fast) == (0, 1, False)
    assert alone.tell(b"words") == [b"words"]
    sent, received, whole = np.arange(5, dtype=np.float32), np.zeros(5, dtype=np.float32), np.ones(5, dtype=np.float32)
    alone.exchange([sent], [received])
    assert np.array_equal(sent, received)
    alone.gather(whole, [0, 5])
    alone.add_up(whole)
    assert (whole == 1.0).all()
    with pytest.raises(SystemExit, match="cllm: enough"):
        alone.abort("enough")
