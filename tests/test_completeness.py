"""Nothing is missing, nothing is left over: ops, kernels, modules, sources, doc pages and environments."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from cllm import kernels
from cllm.cli import COMMANDS
from cllm.ops import OPS
from tests.layers import ROOT, SOURCES, imports, modules
from tests.ops.cases import CASES

KERNEL_SOURCES = SOURCES / "cllm" / "_kernels"
ONCE = {"cpu", "foreign"}  # compiled for no instruction set of its own
DECODING_ALONE = {"logits", "logits_bf16"}  # tests/test_generate.py compares them
WITHOUT_BACKWARD = DECODING_ALONE | {"rotary_table"}  # what depends on no parameter


@pytest.mark.parametrize("name", OPS)
def test_every_op_has_a_reference_kernels_and_a_case(name: str) -> None:
    kind, symbols = OPS[name], kernels.op_kernels()
    assert callable(kind.forward)
    assert f"{name}_forward" in symbols
    assert (kind.backward is None) == (f"{name}_backward" not in symbols) == (name in WITHOUT_BACKWARD)
    if name not in DECODING_ALONE:
        assert name in {case.program().ops[0].kind.name for case in CASES}


def test_every_kernel_of_an_op_has_its_op() -> None:
    assert {re.sub("_(forward|backward)$", "", symbol) for symbol in kernels.op_kernels()} == set(OPS)


def test_every_op_is_a_file_of_ops() -> None:
    files = {path.stem for path in (SOURCES / "cllm" / "ops").glob("*.py")} - {"__init__", "bf16", "kind", "room"}
    assert {kind.forward.__module__.rsplit(".", 1)[1] for kind in OPS.values()} == files


# --- modules ----------------------------------------------------------------------------------------------------


def named(module: str) -> set[str]:
    """Modules that a string in this one names, as "package.module" or "package.module:attribute"."""
    text = modules()[module].read_text(encoding="utf-8")
    return {match[1] for match in re.finditer(r'"(cllm(?:\.\w+)+)(?::\w+)?"', text)} & set(modules())


def reached(roots: set[str]) -> set[str]:
    found: set[str] = set()
    waiting = set(roots)
    while waiting:
        module = waiting.pop()
        if module in modules() and module not in found:
            found.add(module)
            parents = {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)}
            waiting |= imports(module) | named(module) | parents
    return found


def test_every_module_is_reached_from_the_command_line_or_the_public_names() -> None:
    public = {"cllm", "cllm.abi", "cllm.testing", "cllm.testing.fixtures"}
    found = reached(public | {"cllm.__main__", "cllm.cli", *(f"cllm.cli.{name}" for name, _ in COMMANDS)})
    assert set(modules()) - found == set()


def test_every_kernel_source_is_built_or_included() -> None:
    """A .pyx is in meson's list; a header or .pxd is named by another file that is."""
    build = (KERNEL_SOURCES / "meson.build").read_text()
    texts = {path: path.read_text() for path in sorted(KERNEL_SOURCES.iterdir()) if _is_source(path)}
    assert len(texts) > 20
    for path in texts:
        others = [text for other, text in texts.items() if other != path and other.stem != path.stem]
        partner = [text for other, text in texts.items() if other != path and other.stem == path.stem]
        if path.suffix == ".pyx":
            assert f"'{path.stem}'" in build or f"'{path.name}'" in build, path.name
            assert (KERNEL_SOURCES / f"{path.stem}{'' if path.stem in ONCE else '_portable'}.pyi").exists(), path.name
        elif path.suffix == ".c":
            assert f"'{path.name}'" in build, path.name
        elif path.suffix == ".pxd":
            module = rf"cllm\._kernels\.{path.stem}\b|cllm\._kernels\s+cimport\s.*\b{path.stem}\b"
            assert any(re.search(module, text) for text in others), path.name
        else:
            assert any(f'"{path.name}"' in text for text in others + partner), path.name


def _is_source(path: Path) -> bool:
    return path.suffix in (".pyx", ".pxd", ".c", ".h")


def test_meson_knows_every_package() -> None:
    packages = {path.parent.name for path in (SOURCES / "cllm").glob("*/__init__.py")} - {"_kernels"}
    listed = re.findall(r"^packages = \[(.*?)\]$", (SOURCES / "cllm" / "meson.build").read_text(), re.M | re.S)[0]
    assert set(re.findall(r"'(\w+)'", listed)) == packages


def test_every_stub_has_its_module() -> None:
    for stub in KERNEL_SOURCES.glob("*.pyi"):
        assert (KERNEL_SOURCES / f"{stub.stem.removesuffix('_portable')}.pyx").exists(), stub.name


# --- pages, environments -------------------------------------------------------------------------------


def links(page: Path) -> set[Path]:
    """Files of the project that a page links to."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return {(page.parent / target).resolve() for target in targets if "://" not in target}


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    found: set[Path] = set()
    waiting = {ROOT / "README.md"}
    while waiting:
        page = waiting.pop()
        found.add(page)
        dead = {target.relative_to(ROOT).as_posix() for target in links(page) if not target.exists()}
        assert not dead, f"{page.relative_to(ROOT)} links to {', '.join(sorted(dead))}"
        waiting |= {target for target in links(page) if target.suffix == ".md"} - found
    pages = {*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("plugins/*/README.md")}
    assert {page.relative_to(ROOT).as_posix() for page in pages - found} == set()


def tox() -> configparser.ConfigParser:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini", encoding="utf-8")
    return settings


def environments() -> set[str]:
    """Those of tox with a section of their own, which those that only build a package have too."""
    names = {name.removeprefix("testenv:") for name in tox().sections() if name.startswith("testenv:")}
    return {name for name in names if not name.startswith(".")}


def test_every_environment_of_tox_is_in_the_default_list_or_in_full() -> None:
    default = {name.strip() for name in tox()["tox"]["env_list"].split(",")}
    full = {name.strip() for name in tox()["tox"]["labels"].split("=")[1].split(",")}
    assert not default & full
    assert environments() <= default | full


@pytest.mark.parametrize("name", sorted(environments()))
def test_every_environment_asserts_its_own_build(name: str) -> None:
    """It runs test_build.py by name or among all tests, and says in CLLM_EXPECT_* what it expects."""
    whole_suite, own = tox()["testenv"], tox()[f"testenv:{name}"]
    if own.get("package") == "skip":
        return
    commands = own.get("commands", whole_suite["commands"])
    if commands.startswith("{[testenv:"):
        commands = tox()[commands.strip("{[]}").partition("]")[0]]["commands"]
    for how in (" {[shorter]options}", " -n 2 --dist loadfile"):
        commands = commands.replace(how, "")
    assert commands == whole_suite["commands"] or "tests/test_build.py" in commands
    assert "test_build" not in tox()["shorter"]["options"]
    assert "{[testenv]set_env}" in own.get("set_env", "{[testenv]set_env}")


def test_every_marker_has_an_environment() -> None:
    """What the default run leaves out must run somewhere."""
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    markers = set(re.findall(r'^    "(\w+): ', settings, re.MULTILINE))
    left_out = set(re.findall(r"not (\w+)", re.findall(r"^addopts = .*$", settings, re.MULTILINE)[0]))
    assert left_out == markers
    commands = (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert all(f"-m {name} " in commands for name in left_out)
