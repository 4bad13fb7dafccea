"""Rules for Python about what is read: nothing that runs code, nothing that unpacks. No file is exempt.

A file of pickles runs what it says when it is loaded, and an archive of kilobytes unpacks to terabytes. So cllm reads
JSON, TOML, safetensors, its own token files and text, and refuses archives by their first bytes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lint_finding import Finding

CODE = "reading it runs what the file says; use JSON, TOML, safetensors or a token file"
ARCHIVE = "a small archive unpacks to any size; read what is not packed"

RUNS_CODE = {
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "yaml",
    "copyreg",
}
UNPACKS = {"zipfile", "tarfile", "gzip", "bz2", "lzma", "zlib", "zstandard"}
CALLS = {"eval", "exec", "compile"}  # the builtins; re.compile is another
LOADERS = {"numpy.load", "numpy.loads", "torch.load", "torch.hub", "pandas.read_pickle", "shutil.unpack_archive"}
USUAL = {"np": "numpy", "numpy": "numpy", "torch": "torch", "pandas": "pandas", "pd": "pandas", "shutil": "shutil"}


def lint_unsafe(path: str, text: str) -> list[Finding]:
    """The findings of one file."""
    found = [
        Finding(path, getattr(node, "lineno", 0), what, reason)
        for node in ast.walk(ast.parse(text))
        for what, reason in _wrong(node)
    ]
    return sorted(found, key=lambda finding: finding.line)


def _wrong(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        yield from (finding for alias in node.names for finding in _module(alias.name))
    elif isinstance(node, ast.ImportFrom) and not node.level:
        module = node.module or ""
        yield from _module(module)
        yield from ((f"{module}.{one.name}", CODE) for one in node.names if f"{module}.{one.name}" in LOADERS)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        whole = f"{USUAL.get(node.value.id, '')}.{node.attr}"
        if whole in LOADERS:
            yield whole, ARCHIVE if "archive" in whole else CODE
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield f"{node.func.id}()", CODE
    elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        yield "allow_pickle", CODE


def _module(name: str) -> Iterator[tuple[str, str]]:
    first = name.split(".", maxsplit=1)[0]
    if first in RUNS_CODE:
        yield f"import {name}", CODE
    elif first in UNPACKS:
        yield f"import {name}", ARCHIVE
