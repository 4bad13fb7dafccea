"""Documents through a function on several threads: in their order, and with no more of them held than is bounded.

What comes out, errors included, is what one thread would give.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cllm.hooks.protocols import Document

T = TypeVar("T")

GROUP_CHARACTERS = 1 << 16  # that a thread takes at once, so that handing over costs next to nothing
GROUP_DOCUMENTS = 1 << 10
HELD_CHARACTERS = 1 << 22  # of groups that are under way, or wait for those before


def in_order(
    documents: Iterable[Document], function: Callable[[Document], T], n_threads: int
) -> Iterator[tuple[Document, T]]:
    """Each document with what `function` makes of it, on `n_threads` threads besides this one; with 1, on this one."""
    if n_threads == 1:
        for document in documents:
            yield document, function(document)
        return
    groups, error = _groups(documents), None
    waiting: deque[tuple[int, Future[list[tuple[Document, T]]]]] = deque()
    n_held = 0
    pool = ThreadPoolExecutor(n_threads, "cllm-encode")
    try:
        while error is None:
            try:
                group = next(groups)
            except StopIteration:
                break
            except Exception as problem:  # those before it come first, with errors of their own
                error = problem
                break
            size = sum(len(document.text) for document in group)
            waiting.append((size, pool.submit(_all, function, group)))
            n_held += size
            while n_held > HELD_CHARACTERS or len(waiting) > 2 * n_threads:
                size, future = waiting.popleft()
                n_held -= size
                yield from future.result()
        for _, future in waiting:
            yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)
    if error is not None:
        raise error


def _all(function: Callable[[Document], T], group: list[Document]) -> list[tuple[Document, T]]:
    return [(document, function(document)) for document in group]


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents by some 64 thousand characters; where reading fails, those that were read come before the error."""
    group: list[Document] = []
    n_characters = 0
    try:
        for document in documents:
            group.append(document)
            n_characters += len(document.text)
            if n_characters >= GROUP_CHARACTERS or len(group) == GROUP_DOCUMENTS:
                yield group
                group, n_characters = [], 0
    except Exception:
        yield group
        raise
    yield group
