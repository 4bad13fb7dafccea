"""The version of the cllm that is installed. A module of its own, for reading it takes time that `--help` has not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str | None:
    """The version of an installed package, None where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


__version__ = version_of("cllm") or "0+source"  # a source tree on sys.path that nothing has installed
