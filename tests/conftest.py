"""What all tests share."""

from __future__ import annotations

from contextlib import suppress

with suppress(ModuleNotFoundError):  # where a few tests run that do without it
    from hypothesis import settings

    # How long an example takes is the machine's affair, which others use too; what hangs meets pytest's time limit.
    settings.register_profile("cllm", deadline=None)
    settings.load_profile("cllm")
