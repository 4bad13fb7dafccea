"""Which characters of a document are answers: checked as they come from a loader, and cut where its pieces end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cllm.errors import PluginError
from cllm.hooks.protocols import Document

Span = tuple[int, int]  # first, end: of characters, or of tokens


class Spans:
    """Spans of a whole document, in order, given out a piece at a time; one alone is held."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = iter(spans)
        self._next = next(self._spans, None)

    def within(self, begin: int, end: int) -> tuple[Span, ...]:
        """What of them lies in begin <= i < end, counted from `begin`, which is the end of the call before."""
        found = []
        while self._next is not None and self._next[0] < end:
            first, last = self._next
            found.append((max(first, begin) - begin, min(last, end) - begin))
            if last > end:
                break
            self._next = next(self._spans, None)
        return tuple(found)


def stretches(document: Document) -> Iterator[tuple[int, str, bool]]:
    """The text of a document cut at both ends of each answer: (first character, text, whether it is an answer)."""
    done = 0
    for first, end in document.answers:
        if done < first:
            yield done, document.text[done:first], False
        yield first, document.text[first:end], True
        done = end
    if done < len(document.text):
        yield done, document.text[done:], False


def check_answers(document: Document, loader: str) -> None:
    """PluginError, naming the loader, where the answers are no spans of the text that rise and do not overlap."""
    done = 0
    for span in document.answers:
        if not _is_span(span) or not done <= span[0] < span[1] <= len(document.text):
            came = f"{document.source}: the answer {span!r} behind {done:,}, in {len(document.text):,} characters"
            expected = "spans (first, end) within the text, not empty, in order and disjoint"
            raise PluginError(f"loader {loader}", came, expected, "report it to the loader's author")
        done = span[1]


def _is_span(span: object) -> bool:
    return isinstance(span, tuple) and len(span) == 2 and all(type(place) is int for place in span)
