"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes is the machine's affair, which others use too; what hangs meets pytest's time limit.
settings.register_profile("cllm", deadline=None)
settings.load_profile("cllm")
