"""Checks that remember: which do, and what they knew at a moment to which they can be brought back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec


class HasState(Protocol):
    """A part with memory: an optimizer's moments, a check's window."""

    def state_dict(self) -> Mapping[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


def remembering(checks: Mapping[str, object]) -> dict[str, HasState]:
    """Those of the checks, by label, that have a `state_dict` and a `load_state_dict`."""
    return {
        label: check
        for label, check in checks.items()
        if hasattr(check, "state_dict") and hasattr(check, "load_state_dict")
    }


def memory_of(check: HasState) -> bytes:
    """What the check knows now, whatever it goes on to do with the lists that it gives away.

    It is taken at every step, in a form that is faster than a deep copy and, unlike JSON, keeps infinities.
    """
    return msgspec.msgpack.encode(check.state_dict())


def bring_back(check: HasState, memory: bytes) -> None:
    """Let the check know what it knew when `memory` was taken, and no more."""
    check.load_state_dict(msgspec.msgpack.decode(memory))
