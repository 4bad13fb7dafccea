"""The reference pages say what the code says: every key, option, hook and variable, with its default."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from pathlib import Path

import msgspec
import pytest

import cllm
from cllm import env, errors, hooks, kernels
from cllm.cli import COMMANDS
from cllm.config import FREE_ON_RESUME, NUMERIC_KEYS
from cllm.config.schema import Config
from cllm.hooks import hookspecs
from cllm.hooks.specs import SPECS
from tests.docs.markdown import PAGES, ROOT
from tests.docs.reference import FOLDER, STRUCTS, TABLE, TABLES, filled, pages
from tools.pypi_readme import absolute


def text_of(page: str) -> str:
    return (FOLDER / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == filled(text), "run `python -m tests.docs.reference`"


def test_every_table_is_on_a_page() -> None:
    assert {name for page in pages() for _, name, _ in TABLE.findall(page.read_text(encoding="utf-8"))} == set(TABLES)


def test_every_key_of_a_config_is_there() -> None:
    text = text_of("config.md")
    for kind in (*STRUCTS, Config):
        for field in msgspec.structs.fields(kind):
            assert f"`{field.name}`" in text or f"[{field.name}" in text, field.name


def test_what_may_change_on_resume_is_there() -> None:
    text = text_of("config.md")
    for key in (*NUMERIC_KEYS, *FREE_ON_RESUME):
        assert f"`{key}*`" in text if key.endswith(".") else f"`{key}`" in text, key


def test_every_hook_and_every_spec_is_there() -> None:
    text = text_of("hooks.md")
    names = [name for name in vars(hookspecs) if name.startswith("cllm_")]
    assert len(names) >= 14
    for name in [*names, *(spec.__name__ for spec in SPECS)]:
        assert name in text, name


def test_every_public_name_of_python_is_there() -> None:
    text = text_of("python.md")
    for name in cllm.__all__:
        assert re.search(rf"^### `?{name}`?$", text, re.MULTILINE), name
    kinds = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert len(kinds) >= 14
    for name in [*hooks.__all__, *kinds]:
        assert f"| `{name}` |" in text, name
    for name in kernels.__all__:
        assert f"`{name}" in text, name


def test_every_variable_is_there_and_there_are_no_others() -> None:
    text = text_of("environment.md")
    documented = set(re.findall(r"`(CLLM_\w+)`", text))
    sources = [path for kind in ("*.py", "*.pyx") for path in (ROOT / "src").rglob(kind)]
    read = {name for path in sources for name in re.findall(r'"(CLLM_\w+)"', path.read_text(encoding="utf-8"))}
    assert documented == {variable.name for variable in env.VARIABLES} == read


def test_every_option_is_there() -> None:
    text = text_of("cli.md")
    for name, _ in COMMANDS:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"cllm.cli.{name}").add_arguments(parser)
        section = text.partition(f"## cllm {name}\n")[2].partition("\n## ")[0]
        for action in parser._actions[1:]:
            for option in [*action.option_strings] or [str(action.metavar or action.dest)]:
                assert option.replace("|", "\\|") in section, f"{name} {option}"


def test_links_lead_somewhere() -> None:
    for page in (*PAGES, ROOT / "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http://", "https://")):
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} -> {link}"


def test_on_pypi_no_link_of_the_readme_is_relative() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    made = absolute(text, "https://example.org/cllm/blob/v1/")
    links = re.findall(r"\]\(([^)\s]+)", made)
    assert len(links) > 30 and all(link.startswith("https://") for link in links)
    assert "(https://example.org/cllm/blob/v1/README.md#the-same-bits)" in made
    assert "(https://example.org/cllm/blob/v1/docs/index.md)" in made
    assert re.sub(r"\]\([^)]*\)", "", made) == re.sub(r"\]\([^)]*\)", "", text)


def test_the_index_links_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    links = re.findall(r"\]\(([^)#]+)", index.read_text(encoding="utf-8"))
    linked = {index, *((index.parent / link).resolve() for link in links)}
    missing = [str(page) for page in PAGES if page.is_relative_to(index.parent) and page not in linked]
    assert not missing


def test_a_meaning_stands_beside_every_key() -> None:
    """The tables take meanings from docstrings: a key without one would be a KeyError, a stale one goes unseen."""
    for kind in (*STRUCTS, Config):
        documented = set(re.findall(r"^(\w+): ", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE))
        assert documented == {field.name for field in msgspec.structs.fields(kind)}, kind.__name__
