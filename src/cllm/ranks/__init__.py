"""Ranks: processes that train one model together. Each computes its share of the shards; here is how they meet.

Reading order: agreement (every rank hears what every other has seen, and none waits for one that is gone), meeting (how
gradients become one total), handing (how a state gets from rank 0 to the others), joining (how it begins).
"""

from __future__ import annotations

from cllm.ranks.agreement import ALIKE, RankFailed, Ranks
from cllm.ranks.handing import hand_over
from cllm.ranks.joining import join
from cllm.ranks.meeting import Meeting

__all__ = ["ALIKE", "Meeting", "RankFailed", "Ranks", "hand_over", "join"]
