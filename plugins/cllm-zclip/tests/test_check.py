"""What cllm asks of every check, and of every plugin."""

from __future__ import annotations

from dataclasses import replace

from cllm.testing import check_import_budget, check_stability_check

from cllm_zclip.check import ZClip, ZClipConfig


def test_it_keeps_to_what_is_asked_of_a_check() -> None:
    """What is not finite it leaves to the check finite."""
    check_stability_check(
        lambda: ZClip(ZClipConfig()), lambda step: replace(step, gradient_norm=100.0), leaves_nonfinite=True
    )


def test_listing_it_is_quick() -> None:
    check_import_budget("cllm_zclip")
