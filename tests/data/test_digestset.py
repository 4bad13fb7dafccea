"""The set of digests: it is a set, of any digests, and takes what it says of memory."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.data.digestset import BYTES, DigestSet
from cllm.errors import MemoryLimitError


@given(st.lists(st.binary(min_size=BYTES, max_size=32).filter(lambda one: any(one[:BYTES])), max_size=60))
def test_it_is_a_set_of_first_bytes(digests: list[bytes]) -> None:
    """Also of digests that begin alike, as none of BLAKE2b's do."""
    found, seen = DigestSet(), set[bytes]()
    for digest in digests:
        assert found.add(digest) == (digest[:BYTES] not in seen)
        seen.add(digest[:BYTES])
    assert found.n == len(seen)


def digests(n: int) -> list[bytes]:
    return [hashlib.blake2b(number.to_bytes(8, "little"), digest_size=32).digest() for number in range(n)]


def test_it_grows_and_forgets_nothing() -> None:
    found, many = DigestSet(), digests(20_000)
    assert all(map(found.add, many)) and not any(map(found.add, many)) and found.n == len(many)


def test_its_memory() -> None:
    many = digests(30_000)
    tracemalloc.start()
    found = DigestSet()
    for digest in many:
        found.add(digest)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 43 * len(many) + 10_000 and peak < 64 * len(many) + 10_000


def test_more_than_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cllm.bounded.memory_limit", lambda: 50_000)
    with pytest.raises(MemoryLimitError, match="different documents so far need about"):
        list(map(DigestSet().add, digests(10_000)))
