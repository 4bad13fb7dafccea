"""The hooks as they are documented: each has words of its own, and the example in them runs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import cllm.hooks
from cllm.hooks import hookspecs, protocols, reports, specs, verdicts
from cllm.hooks.making import METHODS
from cllm.hooks.manager import REGISTRY, build_manager
from cllm.hooks.plugins import PLACES

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("cllm_")}


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented(name: str) -> None:
    documentation = inspect.getdoc(HOOKS[name]) or ""
    assert len(documentation.split()) > 4
    assert hasattr(HOOKS[name], "cllm_spec"), "not marked as a hook"
    for argument in inspect.signature(HOOKS[name]).parameters:
        assert argument in documentation or "report" in documentation, f"says nothing of {argument}"


def test_every_registry_hook_has_its_spec_and_every_kind_its_place() -> None:
    assert set(REGISTRY) == {name for name in HOOKS if name.startswith("cllm_register_")}
    assert list(REGISTRY.values()) == list(specs.SPECS)
    kinds = {spec.kind for spec in specs.SPECS}
    assert set(PLACES) == kinds
    assert set(METHODS) >= kinds - {"model", "tokenizer"}


@pytest.mark.parametrize("spec", specs.SPECS)
def test_every_spec_says_where_it_is_used(spec: type[specs.Spec]) -> None:
    key, _ = PLACES[spec.kind]
    assert key.replace("{}", "LABEL") in (spec.__doc__ or "")


@pytest.mark.parametrize("module", [protocols, reports, specs, verdicts])
def test_the_contents_page_has_every_class_that_plugins_need(module: ModuleType) -> None:
    things = vars(module).values()
    classes = {one for one in things if isinstance(one, type) and one.__module__ == module.__name__}
    needed = {one.__name__ for one in classes - {verdicts.Failed} if not one.__name__.startswith("_")}
    assert needed <= set(cllm.hooks.__all__)


def test_the_contents_page_is_sorted_and_true() -> None:
    assert sorted(cllm.hooks.__all__) == cllm.hooks.__all__
    assert all(hasattr(cllm.hooks, name) for name in cllm.hooks.__all__)


def test_the_example_is_a_plugin(tmp_path: Path) -> None:
    indented = re.findall(r"(?:^    .*\n|^\n)+", hookspecs.__doc__ or "", flags=re.MULTILINE)
    example = next(block for block in indented if "hookimpl" in block)
    path = tmp_path / "stop_above.py"
    path.write_text(textwrap.dedent(example), encoding="utf-8")
    plugins = build_manager([str(path)])
    assert "stop_above" in plugins.names("check")


def test_importing_hooks_and_listing_plugins_leaves_numpy_alone() -> None:
    program = (
        "import sys; from cllm.hooks import found; from cllm.hooks.manager import build_manager; "
        "found.installed = lambda: (); "  # other people's plugins may import what they like
        "print(len(build_manager().list()), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "False"], done.stderr
