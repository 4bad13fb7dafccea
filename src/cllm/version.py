"""The version of the cllm that is installed. A module of its own, for reading it takes time that `--help` has not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cllm")
except PackageNotFoundError:
    __version__ = "0+source"  # a source tree on sys.path that nothing has installed
