"""What a lint rule says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One place that breaks a rule. `what` names the thing found, `reason` the rule."""

    path: str
    line: int
    what: str
    reason: str
    is_arithmetic: bool = False  # of the numeric path: the kind of rule that files can be exempt from

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}: {self.reason}"
