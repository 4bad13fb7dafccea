"""README.md for PyPI, where links from file to file lead nowhere: `python -m tools.pypi_readme BASE > OUT`.

BASE is where the files of the release can be read, such as https://example.org/cllm/blob/v0.1.0. Nothing but links is
changed; those within the page become links to the page there, for PyPI gives headings no anchors.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
_TARGET = re.compile(r"(?<=\]\()(?!\w+:)([^)\s]+)(?=\))")


def absolute(text: str, base: str) -> str:
    """The text with every link that has no scheme led to `base`."""

    def led(match: re.Match[str]) -> str:
        target = match[1]
        return f"{base.rstrip('/')}/{README.name if target.startswith('#') else ''}{target}"

    return _TARGET.sub(led, text)


def main() -> int:
    if len(sys.argv) != 2 or not sys.argv[1].startswith("https://"):
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.write(absolute(README.read_text(encoding="utf-8"), sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
