"""What the site's check finds, on sites of a few lines; and the contents that docs/conf.py makes of the index."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.docs.markdown import PAGES, ROOT
from tools.site import problems

SOUND = '<h1 id="top">A</h1><a href="b.html#there">b</a><a href="#top">a</a><a href="https://example.org">far</a>'
OTHER = '<p id="there"></p><img src="_static/a.png"><script src="a.js"></script><link rel="stylesheet" href="s.css">'


def found(folder: Path, a: str = SOUND, css: str = "p { background: url(a.png) }") -> list[str]:
    for name, text in (("a.html", a), ("b.html", OTHER), ("s.css", css)):
        (folder / name).write_text(text, encoding="utf-8")
    return list(problems(folder))


def test_a_sound_site_passes(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ('<a href="c.html">c</a>', "a.html links c.html, which is not there"),
        ('<a href="b.html#here">b</a>', "a.html links b.html#here, an anchor that b.html does not have"),
        ('<script src="https://cdn.example.org/x.js"></script>', "a.html loads https://cdn.example.org/x.js"),
        ('<link rel="stylesheet" href="//fonts.example.org/f.css">', "a.html loads //fonts.example.org/f.css"),
        ('<img src="http://example.org/badge.svg">', "a.html loads http://example.org/badge.svg"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(tmp_path: Path, page: str, problem: str) -> None:
    assert found(tmp_path, page) == [problem]


@pytest.mark.parametrize("css", ["@import 'https://example.org/f.css';", "p { src: url(//example.org/f.woff) }"])
def test_a_stylesheet_that_loads_from_afar_is_found(tmp_path: Path, css: str) -> None:
    (problem,) = found(tmp_path, css=css)
    assert problem.startswith("s.css loads ")


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contents_are_the_lists_of_the_index(conf: ModuleType) -> None:
    tables = conf.contents((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    captions = re.findall(r":caption: (.+)", tables)
    assert captions == ["Tutorials", "How to", "Reference", "Explanation", "Decisions", "Project"]
    listed = {(ROOT / "docs" / f"{path}.md").resolve() for path in re.findall(r"<(.+)>", tables)}
    assert listed == set(PAGES) - {ROOT / "docs" / "index.md"} | {ROOT / "CHANGELOG.md"}


def test_a_link_to_a_folder_stays_as_its_text_and_notes_to_tests_go(conf: ModuleType) -> None:
    source = ["<!-- test\nexit: 1\n-->\nSee [the ops](../src/cllm/ops) and [gpt2](../src/cllm/models/gpt2.py).\n"]
    conf.adapted(SimpleNamespace(), "docs/page", source)
    assert source == ["See the ops and [gpt2](../src/cllm/models/gpt2.py).\n"]
