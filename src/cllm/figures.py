"""Figures as people read them at a glance: durations, rates, the numbers beside an axis."""

from __future__ import annotations

import math

SIZES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
LEAST = 0.005  # what is smaller is written with a power of ten


def rate(per_second: float) -> str:
    """12, 76.8k, 2.5M."""
    for size, letter in SIZES[1:]:
        if per_second >= size:
            return f"{per_second / size:.1f}{letter}"
    return f"{per_second:.0f}"


def duration(seconds: float) -> str:
    """1:05, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def short(value: float, among: float | None = None) -> str:
    """A round number in few characters: 0.25, 1.5k, 3e-4; as `among` is written, the largest of those beside it."""
    size = abs(value if among is None else among)
    if value == 0.0 or LEAST <= size < SIZES[0][0] * 1000:
        unit, letter = next((one for one in SIZES if size >= one[0]), (1.0, ""))
        return f"{value / unit:.4g}{letter if value else ''}"
    mantissa, _, power = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(power)}"


def known(value: float | None, form: str) -> str:
    """`value` in this form, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else format(value, form)
