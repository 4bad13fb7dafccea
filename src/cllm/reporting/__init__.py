"""One page to look at runs: what `cllm report` writes.

Reading order: history (what a run has written down, read again), thinning (as many points as can be seen), runs (all
that is known of a run), scale, plot (the pictures), page (all together).
"""

from __future__ import annotations

from cllm.reporting.page import page
from cllm.reporting.runs import Run, look_at

__all__ = ["Run", "look_at", "page"]
