"""The plugin: what a config can name. The check itself stands in check.py, its arithmetic in moments.py."""

from __future__ import annotations

from collections.abc import Iterator

from cllm.hooks import CheckSpec, hookimpl

cllm_api = ">=1,<2"  # the versions of cllm's hooks for which this is written


@hookimpl
def cllm_register_stability_checks() -> Iterator[CheckSpec]:
    summary = "clips gradients whose norm lies far above recent ones, the more the farther (ZClip)"
    yield CheckSpec("zclip.norm", summary, "cllm_zclip.check:ZClip", "cllm_zclip.check:ZClipConfig")
