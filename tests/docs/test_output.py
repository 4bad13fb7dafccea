"""The comparison of the other tests here can fail."""

from __future__ import annotations

from tests.docs.output import difference

A, B = "a" * 64, "b" * 64


def test_numbers_and_digests_may_differ_and_words_may_not() -> None:
    assert difference(["step 20/800  loss 3.1"], "step 2/4  loss 4.55\n", {}) is None
    assert difference(["step 20/800  loss 3.1"], "step 2/4  loose 4.55\n", {})
    assert difference([A], B, {}) is None


def test_a_digest_shown_twice_must_come_twice() -> None:
    assert difference([A, A], f"{B}\n{B}\n", {}) is None
    assert difference([A, A], f"{A}\n{B}\n", {})
    assert difference([A], A, {A: B})


def test_dots_stand_for_lines_and_for_the_rest_of_one() -> None:
    assert difference(["one", "...", "four"], "one\ntwo\nthree\nfour", {}) is None
    assert difference(["one ..."], "one and more", {}) is None
    assert difference(["...", "four"], "one\ntwo", {})


def test_lines_that_the_page_does_not_show_are_a_difference_unless_it_shows_none() -> None:
    assert difference(["one"], "one\ntwo", {})
    assert difference(["two"], "one\ntwo", {})
    assert difference([], "one\ntwo", {}) is None
