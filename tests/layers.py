"""The import graph of src/cllm, read from the sources: what test_layers and test_completeness ask questions of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src"


@cache
def modules() -> dict[str, Path]:
    """Every Python module of cllm by name."""
    return {_name(path): path for path in sorted((SOURCES / "cllm").rglob("*.py"))}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(module: str, at_import_only: bool = False) -> frozenset[str]:
    """Modules of cllm that this one imports, in functions too unless at_import_only; not for type checkers alone."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    found = {name for node in _statements(tree.body, at_import_only) for name in _imported(node)}
    return frozenset(found - {module})


def _statements(body: list[ast.stmt], at_import_only: bool) -> Iterator[ast.stmt]:
    for node in body:
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _statements(node.orelse, at_import_only)
            continue
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            for child in getattr(node, field, []):
                yield from _statements(child.body if not isinstance(child, ast.stmt) else [child], at_import_only)


def _imported(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "cllm")
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cllm":
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in modules() or node.module == "cllm" else str(node.module)


def in_layer(module: str, layer: str) -> bool:
    """Whether a module is a layer's, which is a module or a package: cllm.data.batches is in cllm.data."""
    return module == layer or module.startswith(layer + ".")
