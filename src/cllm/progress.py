"""How fast a run is and how long it will take: medians of the last steps, so that one slow step changes little."""

from __future__ import annotations

from collections import deque
from statistics import median


class Pace:
    """Tokens a second and seconds to go."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=50)
        self._rates: deque[float] = deque(maxlen=50)

    def tokens_per_second(self, n_tokens: int, seconds: float) -> float:
        """After one more step, of n_tokens, that took `seconds`."""
        self._seconds.append(seconds)
        self._rates.append(n_tokens / seconds)
        return median(self._rates)

    def eta(self, n_steps_left: int) -> float | None:
        """Seconds for the steps that are left; None before the first steps have settled."""
        return median(self._seconds) * n_steps_left if len(self._seconds) >= 5 else None
