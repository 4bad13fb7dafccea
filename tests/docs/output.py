"""Compares output with what a page shows: numbers may differ, `...` stands for any lines or any rest of a line.

A digest may differ too, but where a page shows one twice, it must come twice.
"""

from __future__ import annotations

import re

_DIGEST = re.compile(r"\b[0-9a-f]{32,}\b")
_RATE = re.compile(r"  ETA \S+")  # the first steps have none
_NUMBER = re.compile(r"[0-9][0-9.,:e+-]*[0-9kM%]|[0-9]")


def difference(shown: list[str], printed: str, digests: dict[str, str]) -> str | None:
    """What differs, in words; `digests` remembers those of the page and what came in their place."""
    wanted, found = [line for line in shown if line.strip()], [line for line in printed.split("\n") if line.strip()]
    return _compare(wanted, found, digests)


def _compare(wanted: list[str], found: list[str], digests: dict[str, str]) -> str | None:
    position, anywhere = 0, False
    for line in wanted:
        if line.strip() == "...":
            anywhere = True
            continue
        places = range(position, len(found)) if anywhere else range(position, min(position + 1, len(found)))
        place = next((place for place in places if _is_like(line, found[place], digests)), None)
        if place is None:
            came = "\n".join(found[position : position + 5]) or "nothing more"
            return f"the page shows\n  {line}\nbut there was\n{came}"
        position, anywhere = place + 1, False
    if position < len(found) and wanted and not anywhere:
        return "the page does not show\n  " + "\n  ".join(found[position:])
    return None


def _is_like(shown: str, printed: str, digests: dict[str, str]) -> bool:
    want, have = masked(shown), masked(printed)
    alike = have.startswith(want[: -len("...")].rstrip()) if want.endswith("...") else want == have
    if not alike:
        return False
    pairs = list(zip(_DIGEST.findall(shown), _DIGEST.findall(printed), strict=False))
    if any(digests.get(old, new) != new for old, new in pairs):
        return False
    digests.update(pairs)
    return True


def masked(line: str) -> str:
    """The line without what differs from run to run."""
    line = _DIGEST.sub("DIGEST", line.rsplit("\r", maxsplit=1)[-1])
    return " ".join(_NUMBER.sub("#", _RATE.sub("", line)).split())
