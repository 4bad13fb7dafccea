"""The site of README, docs and plugins' READMEs, by Sphinx: `python -m tools.site OUT` builds it, `tox -e site` too.

The pages stay as a repository shows them, with links from file to file. What a site needs besides is made here: its
table of contents from the lists of docs/index.md, and `index.html`, which leads there.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

with (ROOT / "pyproject.toml").open("rb") as _file:
    _project = tomllib.load(_file)["project"]

project, version, release = "cllm", _project["version"], _project["version"]
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md", "plugins/*/README.md"]
exclude_patterns = [".*", "build*", "src", "tests", "tools", "benchmarks", "runs", "data", "findings", "plugins/*/src"]
myst_heading_anchors = 4  # as a repository makes them: ../reference/config.md#data

html_theme = "furo"
html_title = f"cllm {release}"
html_static_path = ["static"]  # docs/static/site.css
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<path>[^)#:]+?)(?P<anchor>#[^)]*)?\)")
_COMMENT = re.compile(r"^<!-- .*?-->\n", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^## (?P<title>.+)\n(?P<text>(?:(?!^## ).*\n)*)", re.MULTILINE)


def adapted(app: Any, name: str, source: list[str]) -> None:
    """What the tests are told in comments goes; a link to a folder, which has no page, stays as its text."""
    folder = (ROOT / f"{name}.md").parent
    text = _COMMENT.sub("", source[0])
    text = _LINK.sub(lambda link: link["text"] if (folder / link["path"]).is_dir() else link[0], text)
    source[0] = text + contents(text) if name == root_doc else text


def contents(text: str) -> str:
    """Hidden tables of contents: for each section of the index, the pages that it links, under its names for them."""
    tables = []
    for section in _SECTION.finditer(text):
        links = [link for link in _LINK.finditer(section["text"]) if link["path"].endswith(".md")]
        pages = [f"{' '.join(link['text'].split())} <{link['path'].removesuffix('.md')}>" for link in links]
        options = f":hidden:\n:caption: {section['title']}"
        tables.append("\n".join(["\n```{toctree}", options, "", *pages, "```\n"]))
    return "".join(tables)


def lead_to_index(app: Any, problem: Exception | None) -> None:
    if problem is None:
        target = f"{root_doc}.html"
        page = f'<!doctype html><title>cllm</title><meta http-equiv="refresh" content="0; url={target}">'
        (Path(app.outdir) / "index.html").write_text(f'{page}<a href="{target}">cllm</a>\n', encoding="utf-8")


def setup(app: Any) -> None:
    app.connect("source-read", adapted)
    app.connect("build-finished", lead_to_index)
