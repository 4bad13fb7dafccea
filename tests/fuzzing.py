"""How long readers are fuzzed: shortly and always alike by default, long and each time otherwise in `tox -e slow`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Nothing is kept between runs, and a slow machine is no failure.
_COMMON = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))


def fuzzed(n_short: int, n_long: int) -> pytest.MarkDecorator:
    """A test with this mark takes `length`, which decorates a check of hypothesis's."""
    short = settings(_COMMON, max_examples=n_short, derandomize=True)
    long = settings(_COMMON, max_examples=n_long, print_blob=True)
    return pytest.mark.parametrize(
        "length", [pytest.param(short, id="short"), pytest.param(long, id="long", marks=pytest.mark.slow)]
    )
