"""Builds the site and checks that it is whole and needs no network: `python -m tools.site OUT`, 1 if anything is found.

What Sphinx warns of is an error. Of each page that it has written, whatever a browser loads by itself must lie in OUT,
and every link within the site must lead to a file and to an anchor in it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
_REMOTE_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\s)\"']*")


class Page(HTMLParser):
    """What a page loads, where its links lead, and which anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if LOADED.get(tag) in values:
            self.loads.append(values[LOADED[tag]])


def build(out: Path) -> None:
    """Raises CalledProcessError where Sphinx warns or fails."""
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-a", "-W", "--keep-going", "-b", "html"]
    with TemporaryDirectory() as pickles:
        subprocess.run([*command, "-c", "docs", "-d", pickles, ".", str(out)], cwd=ROOT, check=True)


def problems(out: Path) -> Iterator[str]:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(out.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(out)
        yield from (f"{name} loads {load}" for load in page.loads if _is_remote(load))
        for link in page.links:
            target, anchor = _target(path, link)
            if target is None:
                continue
            if not target.is_file():
                yield f"{name} links {link}, which is not there"
            elif target in pages and anchor not in pages[target].anchors:
                yield f"{name} links {link}, an anchor that {target.name} does not have"
    for path in sorted(out.rglob("*.css")):
        found = _REMOTE_CSS.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(out)} loads {what}" for what in found)


def _is_remote(link: str) -> bool:
    return urlsplit(link).netloc != ""


def _target(page: Path, link: str) -> tuple[Path | None, str]:
    """The file that a link within the site leads to, and the anchor there; None for other links."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None, ""
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    return path, unquote(parts.fragment)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    out = Path(sys.argv[1]).resolve()
    build(out)
    found = list(problems(out))
    print("\n".join(found) or f"{len(list(out.rglob('*.html')))} pages in {out}, whole, without a remote request")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
