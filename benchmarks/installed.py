"""How many bytes an installation has: the files of a distribution and of all that it needs, without Python itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources.abc import Traversable
from pathlib import Path


def installed_size(name: str) -> int:
    """Bytes on this machine, of an editable installation those of its package. Raises PackageNotFoundError."""
    return sum(path.stat().st_size for one in with_needs(name) for path in files_of(one) if path.is_file())


def with_needs(name: str) -> list[Distribution]:
    """A distribution and what it needs, each once; what is asked for and not here is for other systems, or extra."""
    found: dict[str, Distribution] = {canonical(name): distribution(name)}
    waiting = list(found.values())
    while waiting:
        for needed in needs(waiting.pop()):
            if needed in found:
                continue
            try:
                found[needed] = distribution(needed)
            except PackageNotFoundError:
                continue
            waiting.append(found[needed])
    return list(found.values())


def needs(one: Distribution) -> Iterator[str]:
    for requirement in one.requires or ():
        words, _, marker = requirement.partition(";")
        match = re.match(r"[\w.-]+", words)
        if match and not re.search(r"\bextra\b", marker):
            yield canonical(match[0])


def canonical(name: str) -> str:
    """typing_extensions and Typing-Extensions are one project: PyPA's rule for names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def files_of(one: Distribution) -> Iterator[Path]:
    if is_editable(one):
        yield from _below(resources.files(canonical(one.name).replace("-", "_")))
    else:
        yield from {Path(str(one.locate_file(file))) for file in one.files or ()}


def is_editable(one: Distribution) -> bool:
    origin = json.loads(one.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable", False))


def _below(folder: Traversable) -> Iterator[Path]:
    for child in folder.iterdir():
        if child.is_dir():
            yield from _below(child)
        else:
            yield Path(str(child))
