"""What cllm asks of every reducer, and of every plugin."""

from __future__ import annotations

from cllm.testing import check_import_budget, check_reducer

from cllm_robust.reducers import Median, TrimmedMean, TrimmedMeanConfig


def test_both_keep_to_what_is_asked_of_a_reducer() -> None:
    check_reducer(Median())
    check_reducer(TrimmedMean(TrimmedMeanConfig()), least_shards=3)


def test_listing_it_is_quick() -> None:
    check_import_budget("cllm_robust")
