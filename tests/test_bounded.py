"""What is too large is refused before it is read or allocated, also where a cgroup of either version is the limit."""

from __future__ import annotations

import errno
import tracemalloc
from pathlib import Path

import pytest

from cllm import bounded, machine
from cllm.bounded import LARGEST_CONFIG, check_memory, next_line, read_at_most
from cllm.errors import MemoryLimitError
from tests.test_machine import GIB, V1_MEMORY_MOUNT, V2_MOUNT, write


@pytest.mark.parametrize("most", [5, 1 << 20, 3 << 20])
def test_a_file_is_read_up_to_its_bound_and_not_beyond(most: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    for size in (0, most - 1, most):
        path.write_bytes(bytes(size))
        assert len(read_at_most(path, most)) == size
    path.write_bytes(bytes(most + 1))
    with pytest.raises(OSError, match="it has more than") as caught:
        read_at_most(path, most)
    assert (caught.value.errno, caught.value.filename) == (errno.EMSGSIZE, str(path))


def test_a_small_file_takes_no_room_for_a_large_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"small")
    tracemalloc.start()
    try:
        read_at_most(tmp_path / "a", 1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_CONFIG
    finally:
        tracemalloc.stop()


def test_a_line_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LONGEST_LINE", 8)
    path = tmp_path / "a"
    path.write_bytes(b"1234567\nab\n123456789\n")
    with path.open("rb") as file:
        assert [next_line(file, path), next_line(file, path)] == [b"1234567\n", b"ab\n"]
        with pytest.raises(OSError, match="a line has more than"):
            next_line(file, path)


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/mountinfo": V2_MOUNT, "proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": str(10 * GIB)},
        {"proc/self/mountinfo": V2_MOUNT, "proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/memory.max": str(10 * GIB),
         "sys/fs/cgroup/a/b/memory.max": "max"},
        {"proc/self/mountinfo": V1_MEMORY_MOUNT, "proc/self/cgroup": "4:memory:/job",
         "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(10 * GIB)},
    ],
    ids=["version 2", "version 2, of a parent", "version 1"],
)
def test_four_fifths_of_a_cgroups_limit_may_be_used(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path, files)
    monkeypatch.setattr(machine, "total_memory", lambda: 64 * GIB)
    monkeypatch.setattr(machine, "_address_space", lambda: ())
    monkeypatch.setattr(bounded, "memory_limit", lambda: machine.memory_limit(root))
    check_memory({"parameters": 7 * GIB, "batches": GIB}, "they")
    with pytest.raises(MemoryLimitError, match=r"they need about 8\.6 GB .* at most 80 % of the 10\.7 GB"):
        check_memory({"parameters": 7 * GIB, "batches": GIB + 1}, "they")
