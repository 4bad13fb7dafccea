"""One page to look at runs: what `cllm report` writes, and what `cllm watch` serves while they go on.

Reading order: history (what a run has written down), following (which is read as it grows), thinning (as many points as
can be seen), runs (all that is known of a run), scale, plot (the pictures), page (all together); state (what a run is
doing), live (what there is to see by now), livepage (the page that renews itself), server.
"""

from __future__ import annotations

from cllm.reporting.page import page
from cllm.reporting.runs import Run, look_at

__all__ = ["Run", "look_at", "page"]
