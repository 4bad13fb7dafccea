"""Cores and memory as other machines would show them: made-up /proc and /sys trees under a temporary root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cllm import machine
from cllm.machine import Cores

GIB = 2**30
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU_MOUNT = "33 31 0:30 {mounted} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY_MOUNT = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return root


def test_hyperthreads_of_one_core_count_once(tmp_path: Path) -> None:
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    root = write(tmp_path, {topology.format(cpu): f"{cpu % 4},{cpu % 4 + 4}" for cpu in range(8)})
    assert machine.physical_cores(frozenset(range(8)), root) == 4
    assert machine.physical_cores(frozenset({1, 5}), root) == 1
    assert machine.physical_cores(frozenset({0, 5}), root) == 2


def test_without_a_topology_every_thread_is_a_core(tmp_path: Path) -> None:
    assert machine.physical_cores(frozenset({0, 2, 3}), tmp_path) == 3


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/a/b/cpu.max": "250000 100000"}, 2.5),
        ({"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 0.5),
        ({"sys/fs/cgroup/a/b/cpu.max": "100000 100000", "sys/fs/cgroup/a/cpu.max": "50000 10000"}, 1.0),
        ({"sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0),
        ({"sys/fs/cgroup/a/b/cpu.max": "nonsense"}, None),
        ({"sys/fs/cgroup/a/other/cpu.max": "100000 100000"}, None),
    ],
)
def test_quota_of_version_2_is_the_smallest_on_the_way_up(
    files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    root = write(tmp_path, {"proc/self/mountinfo": V2_MOUNT, "proc/self/cgroup": "0::/a/b", **files})
    assert machine.cpu_quota(root) == quota


@pytest.mark.parametrize(
    ("mounted", "path", "folder"),
    [("/", "/docker/x", "docker/x"), ("/docker/x", "/docker/x", "."), ("/elsewhere", "/docker/x", ".")],
    ids=["host", "container", "container that sees another path"],
)
def test_quota_of_version_1_is_found_where_the_hierarchy_is_mounted(
    mounted: str, path: str, folder: str, tmp_path: Path
) -> None:
    here = f"sys/fs/cgroup/cpu,cpuacct/{folder}"
    files = {
        "proc/self/mountinfo": V1_CPU_MOUNT.format(mounted=mounted),
        "proc/self/cgroup": f"5:memory:/other\n4:cpu,cpuacct:{path}\n1:name=systemd:/user",
        f"{here}/cpu.cfs_quota_us": "150000",
        f"{here}/cpu.cfs_period_us": "50000",
    }
    root = write(tmp_path, files)
    assert machine.cpu_quota(root) == 3.0
    write(root, {f"{here}/cpu.cfs_quota_us": "-1"})
    assert machine.cpu_quota(root) is None


@pytest.mark.parametrize(
    ("physical", "quota", "usable"),
    [(8, None, 8), (8, 2.5, 2), (8, 0.3, 1), (2, 16.0, 2), (1, 1.0, 1)],
)
def test_a_quota_grants_whole_threads_and_at_least_one(physical: int, quota: float | None, usable: int) -> None:
    assert Cores(logical=16, affinity=16, physical=physical, quota=quota).usable == usable


def test_threads_follow_the_variable_then_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLLM_THREADS", "5")
    assert machine.default_threads(tmp_path) == 5
    monkeypatch.delenv("CLLM_THREADS")
    assert machine.default_threads(tmp_path) == machine.cores(tmp_path).usable
    root = write(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNT,
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/cpu.max": "100000 100000",
        },
    )
    assert machine.default_threads(root) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_affinity_limits_the_cores() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.cores().affinity == machine.cores().physical == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 64 * GIB),
        ({"sys/fs/cgroup/a/memory.max": "max"}, 64 * GIB),
        ({"sys/fs/cgroup/a/memory.max": str(3 * GIB)}, 3 * GIB),
        ({"sys/fs/cgroup/a/memory.max": str(3 * GIB), "sys/fs/cgroup/memory.max": str(2 * GIB)}, 2 * GIB),
        ({"sys/fs/cgroup/a/memory.max": str(80 * GIB)}, 64 * GIB),
    ],
)
def test_memory_of_version_2(
    files: dict[str, str], limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "total_memory", lambda: 64 * GIB)
    monkeypatch.setattr(machine, "_address_space", lambda: ())
    root = write(tmp_path, {"proc/self/mountinfo": V2_MOUNT, "proc/self/cgroup": "0::/a", **files})
    assert machine.memory_limit(root) == limit


@pytest.mark.parametrize(("written", "limit"), [(str(5 * GIB), 5 * GIB), ("9223372036854771712", 64 * GIB)])
def test_memory_of_version_1(written: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "total_memory", lambda: 64 * GIB)
    monkeypatch.setattr(machine, "_address_space", lambda: ())
    files = {
        "proc/self/mountinfo": V1_MEMORY_MOUNT,
        "proc/self/cgroup": "4:memory:/job/7",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": written,
    }
    assert machine.memory_limit(write(tmp_path, files)) == limit


def test_memory_within_ulimit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (GIB, resource.RLIM_INFINITY))
    assert machine.memory_limit(tmp_path) == min(GIB, machine.total_memory())


def test_this_machine_answers() -> None:
    seen = machine.cores()
    assert 1 <= seen.usable <= seen.physical <= seen.affinity <= seen.logical
    assert 0 < machine.memory_limit() <= machine.total_memory()
