"""What this process may use of the machine: cores within affinity and cgroup quota, memory within limits.

The numbers choose how many threads run and which jobs are refused before they allocate; never a bit.
On systems without /proc and /sys the operating system's own counts stand in.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cllm import env

ROOT = Path("/")


@dataclass(frozen=True)
class Cores:
    """The processors in sight of this process, and what is left of them."""

    logical: int  # hardware threads that are online
    affinity: int  # hardware threads that this process may run on
    physical: int  # cores that these belong to: hyperthreads share one core's FMA units, so they count once
    quota: float | None  # processors' worth of time that the cgroups grant, None where they do not limit it

    @property
    def usable(self) -> int:
        """How many threads can run at full speed: a quota of 2.5 grants two, and whoever has one gets one."""
        if self.quota is None:
            return self.physical
        # A third thread on a quota of 2.5 would be stopped in every period while the others wait.
        return max(1, min(self.physical, int(self.quota)))


def cores(root: Path = ROOT) -> Cores:
    """Count cores. `root` stands for the file system's root, so that a test can show another machine."""
    allowed = allowed_cpus()
    return Cores(
        logical=os.cpu_count() or 1,
        affinity=len(allowed),
        physical=physical_cores(allowed, root),
        quota=cpu_quota(root),
    )


def default_threads(root: Path = ROOT) -> int:
    """Return CLLM_THREADS, else the number of physical cores within affinity and quota."""
    return env.threads() or cores(root).usable


def physical_cores(cpus: frozenset[int] | None = None, root: Path = ROOT) -> int:
    """Return how many cores the hardware threads `cpus` (default: this process's affinity) belong to."""
    allowed = allowed_cpus() if cpus is None else cpus
    return len({_siblings(cpu, root) for cpu in allowed})


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return the smallest CPU quota of this process's cgroups and their parents, in processors, if any."""
    quotas = [_quota_of(folder) for folder in _cgroup_folders("cpu", root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def total_memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_limit(root: Path = ROOT) -> int:
    """Return how many bytes this process may use: the machine's, or less by a cgroup or `ulimit -v`."""
    granted = [_memory_of(folder) for folder in _cgroup_folders("memory", root)]
    return min([total_memory(), *_address_space(), *(limit for limit in granted if limit is not None)])


def allowed_cpus() -> frozenset[int]:
    """The hardware threads that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def machine_name(root: Path = ROOT) -> str:
    """A name that no other running machine has: Linux's number of this boot, else the name in the network."""
    return _read(root / "proc/sys/kernel/random/boot_id") or platform.node()


def _siblings(cpu: int, root: Path) -> str:
    """The hardware threads of `cpu`'s core, one text for all of them; where unknown, it has its own core."""
    text = _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return text or str(cpu)


def _quota_of(folder: Path) -> float | None:
    v2 = (_read(folder / "cpu.max") or "").split()
    v1 = [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
    for pair in (v2, v1):
        # Not a limit: "max" in version 2, -1 in version 1, files that are not there.
        match [_whole(word) for word in pair]:
            case [int(quota), int(period)] if quota > 0 and period > 0:
                return quota / period
    return None


def _memory_of(folder: Path) -> int | None:
    # "max" (version 2) reads as None; version 1 writes no limit as a number beyond any machine, which min
    # drops.
    limits = [_whole(_read(folder / name)) for name in ("memory.max", "memory.limit_in_bytes")]
    return next((limit for limit in limits if limit is not None), None)


def _address_space() -> tuple[int, ...]:
    try:
        import resource  # Unix only
    except ImportError:
        return ()
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return () if soft == resource.RLIM_INFINITY else (soft,)


def _cgroup_folders(controller: str, root: Path) -> Iterator[Path]:
    """The folders that limit `controller` for this process: its own cgroup and every parent, v1 and v2."""
    for hierarchy, mounted, mount_point in _cgroup_mounts(controller, root):
        for path in _own_cgroups(hierarchy, root):
            # In a container the path may be the host's, of which only what lies below the mount is visible.
            below = path.relative_to(mounted) if path.is_relative_to(mounted) else PurePosixPath()
            own = root / mount_point.relative_to("/") / below
            yield own
            yield from list(own.parents)[: len(below.parts)]


def _cgroup_mounts(controller: str, root: Path) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
    """(name in /proc/self/cgroup, mounted folder, mount point) of each hierarchy to look at."""
    for line in (_read(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), (*right.split(), "", "", "")[:3]
        if len(fields) < 5:
            continue
        places = PurePosixPath(fields[3]), PurePosixPath(fields[4])
        if kind == "cgroup2":
            yield "", *places
        elif kind == "cgroup" and controller in options.split(","):
            yield controller, *places


def _own_cgroups(hierarchy: str, root: Path) -> Iterator[PurePosixPath]:
    """A hierarchy's paths in /proc/self/cgroup: lines `number:controllers:path`, in version 2 `0::path`."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if path and hierarchy in names.split(","):
            yield PurePosixPath(path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
