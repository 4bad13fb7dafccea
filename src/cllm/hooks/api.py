"""The version of the hooks, and for which versions a plugin says that it is written: `cllm_api = ">=1,<2"`.

What a version promises stands in docs/explanation/stability.md.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from cllm.errors import PluginError

VERSION = (1, 0)  # raised in front where a plugin may have to be changed, behind where hooks or parameters are added
NAME = "cllm_api"

_BOUND = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([0-9]{1,6})(?:\.([0-9]{1,6}))?\s*")
_HOLDS: Mapping[str, Callable[[tuple[int, int], tuple[int, int]], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}


class Outdated(PluginError):
    """A plugin that is written for other versions of the hooks: it is left out, as long as nobody names it."""


def version() -> str:
    """Return the version of the hooks as it is shown: 1.0."""
    return ".".join(map(str, VERSION))


def check_api(plugin: object, who: str) -> None:
    """Look whether a plugin is written for these hooks; one that does not say so is.

    Raises Outdated where it is not, and PluginError where what it says cannot be read.
    """
    wanted = getattr(plugin, NAME, None)
    if wanted is None:
        return
    bounds = [_BOUND.fullmatch(bound) for bound in wanted.split(",")] if isinstance(wanted, str) else [None]
    for bound in bounds:
        if bound is None:
            expected = "comparisons with versions, with commas between"
            raise PluginError(who, f"{NAME} = {wanted!r}", expected, f'as in {NAME} = ">=1,<2"')
        if not _HOLDS[bound[1]](VERSION, (int(bound[2]), int(bound[3] or 0))):
            came = f"it is written for hooks of version {wanted}, and this cllm has {version()}"
            raise Outdated(who, came, "versions that go together", "update the plugin, or cllm")
