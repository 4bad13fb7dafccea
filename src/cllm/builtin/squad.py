"""The `squad` loader: SQuAD v1.1 and v2.0 files as plain text, one document an article, in bounded
memory.

The text of an article, where \\n is a line end:

    # title\\n\\n
    context\\n\\n             for each paragraph, followed by its questions:
    Q: question\\n
    A: first answer\\n\\n     or, where there is no answer (is_impossible, or an empty list), just \\n

So every entry ends in a blank line: a Q without an A never runs into what follows. Line ends inside a
title, a question or an answer become spaces, since an entry is one line; a context stays as it is.

Marked as an answer is what follows "A:", from the space to the first line end: so a prompt ends in "A:",
and a model that learns from answers alone learns to end them.

Counts: a segment is one title, context, question or answer; context_characters are those of the contexts
alone.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from cllm.atomic import disk_errors
from cllm.data.answers import Span, Spans
from cllm.data.jsonevents import JsonEvents, boolean, finish, items, members, skip, string
from cllm.errors import DataError
from cllm.hooks.protocols import Document

MAX_PARAGRAPH_CHARACTERS = 8 << 20  # of one paragraph's texts; the largest of SQuAD have some 10,000
PIECE_CHARACTERS = 1 << 20  # a longer article comes in pieces
_SPOOL_BYTES = 1 << 20  # up to here an article waits in memory, from here on disk
_SPAN = struct.Struct("=qq")
_QUESTION_COST = 64  # characters that a question counts besides its text, so that a million empty ones are too many

_FILE_KEYS = frozenset({"data"})
_ARTICLE_KEYS = frozenset({"title", "paragraphs"})
_PARAGRAPH_KEYS = frozenset({"context", "qas"})
_QUESTION_KEYS = frozenset({"question", "answers", "is_impossible"})
_ANSWER_KEYS = frozenset({"text"})


class SquadConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """source: a SQuAD JSON file, or several that are read one after the other."""

    source: str | list[str]


class SquadDataset:
    """The articles of SQuAD files as documents."""

    def __init__(self, config: SquadConfig) -> None:
        sources = [config.source] if isinstance(config.source, str) else config.source
        self._paths = [Path(source).expanduser() for source in sources]
        if not self._paths:
            raise DataError(who="squad", came="no source", expected="a SQuAD JSON file", todo="set source to its path")

    def files(self) -> list[Path]:
        """The files that decide the text."""
        return list(self._paths)

    def documents(self) -> Iterator[Document]:
        """Yield the articles in order; one longer than PIECE_CHARACTERS in pieces.

        Raises DataError, with the file, the article, the paragraph and the question, for a file that is
        missing, truncated, no JSON, or JSON of another form.
        """
        for path in self._paths:
            yield from _Reader(path).documents()


@dataclass
class _Paragraph:
    context: str | None = None
    questions: list[tuple[str, str | None]] = field(default_factory=list)  # (question, first answer)
    size: int = 0


@dataclass
class _Article:
    body: IO[str]
    answers: IO[bytes]  # of the body, a _SPAN each
    n_characters: int = 0  # of the body
    title: str | None = None
    n_segments: int = 1
    n_context_characters: int = 0


class _Reader:
    """Reads one file. It keeps where it stands (article, paragraph, question) for its messages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place: list[int] = []
        self._events = JsonEvents(path, "squad", self._describe_place, "a SQuAD v1.1 or v2.0 file")

    def documents(self) -> Iterator[Document]:
        n_articles = 0
        for _ in members(self._events, "the file", _FILE_KEYS):
            for number in items(self._events, '"data"'):
                self._place = [number]
                yield from self._article()
                n_articles += 1
            self._place = []
        finish(self._events)
        if not n_articles:
            raise self._events.misshapen("no articles", 'an object with a list "data" that has at least one article')

    def _article(self) -> Iterator[Document]:
        with (
            tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+", encoding="utf-8", newline="") as body,
            tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as answers,
        ):
            article = _Article(body, answers)
            seen_paragraphs = False
            for key in members(self._events, "the article", _ARTICLE_KEYS):
                if key == "title":
                    article.title = _one_line(string(self._events, "the title"))
                else:
                    seen_paragraphs = True
                    self._paragraphs(article)
            if article.title is None or not seen_paragraphs:
                raise self._events.misshapen('an article without "title" or "paragraphs"', "both")
            yield from self._pieces(article)

    def _paragraphs(self, article: _Article) -> None:
        for number in items(self._events, '"paragraphs"'):
            self._place.append(number)
            paragraph = self._paragraph()
            with disk_errors(DataError, "squad", Path(tempfile.gettempdir())):
                _add(article, paragraph)
            article.n_segments += _n_segments(paragraph)
            article.n_context_characters += len(paragraph.context or "")
            self._place.pop()

    def _paragraph(self) -> _Paragraph:
        paragraph = _Paragraph()
        seen_questions = False
        for key in members(self._events, "the paragraph", _PARAGRAPH_KEYS):
            if key == "context":
                paragraph.context = string(self._events, "the context")
                self._grow(paragraph, len(paragraph.context))
            else:
                seen_questions = True
                self._questions(paragraph)
        if paragraph.context is None or not seen_questions:
            raise self._events.misshapen('a paragraph without "context" or "qas"', "both")
        return paragraph

    def _questions(self, paragraph: _Paragraph) -> None:
        for number in items(self._events, '"qas"'):
            self._place.append(number)
            question, answer = self._question()
            paragraph.questions.append((question, answer))
            self._grow(paragraph, _QUESTION_COST + len(question) + len(answer or ""))
            self._place.pop()

    def _question(self) -> tuple[str, str | None]:
        question: str | None = None
        answer: str | None = None
        impossible = False
        for key in members(self._events, "the question", _QUESTION_KEYS):
            if key == "question":
                question = _one_line(string(self._events, "the question"))
            elif key == "answers":
                answer = self._first_answer()
            else:
                impossible = boolean(self._events, '"is_impossible"')
        if question is None:
            raise self._events.misshapen('a question without "question"', "its text")
        return question, None if impossible else answer

    def _first_answer(self) -> str | None:
        first: str | None = None
        for number in items(self._events, '"answers"'):
            if number:
                skip(self._events)
                continue
            for _ in members(self._events, "the answer", _ANSWER_KEYS):
                first = _one_line(string(self._events, "the answer's text"))
            if first is None:
                raise self._events.misshapen('an answer without "text"', "its text")
        return first

    def _grow(self, paragraph: _Paragraph, size: int) -> None:
        paragraph.size += size
        if paragraph.size > MAX_PARAGRAPH_CHARACTERS:
            came = f"a paragraph of more than {MAX_PARAGRAPH_CHARACTERS >> 20} Mi characters"
            raise self._events.error(came, "smaller paragraphs", "split it; it is held in memory whole")

    def _pieces(self, article: _Article) -> Iterator[Document]:
        """The article's text: the title, then the body, which has waited for it on disk."""
        source = f"{self._path}: {article.title}"
        counts = {"segments": article.n_segments, "context_characters": article.n_context_characters}
        article.body.seek(0)
        title = f"# {article.title}\n\n"
        answers = Spans(_spans(article.answers, len(title)))
        text = title + article.body.read(PIECE_CHARACTERS)
        yield Document(text, source, counts=counts, answers=answers.within(0, len(text)))
        offset = len(text)
        while text := article.body.read(PIECE_CHARACTERS):
            within = answers.within(offset, offset + len(text))
            yield Document(text, source, offset, continues=True, answers=within)
            offset += len(text)

    def _describe_place(self) -> str:
        names = ("article", "paragraph", "question")
        return ", ".join(f"{name} {number + 1}" for name, number in zip(names, self._place, strict=False)) or "the file"


def _add(article: _Article, paragraph: _Paragraph) -> None:
    """Append a paragraph's text to the body, and where its answers are."""
    lines, spans = [f"{paragraph.context}\n\n"], []
    n = article.n_characters + len(lines[0])
    for question, answer in paragraph.questions:
        begin = f"Q: {question}\n" + ("" if answer is None else "A:")
        written = "" if answer is None else f" {answer}\n"
        lines += [begin, written, "\n"]
        n += len(begin)
        if written:
            spans.append(_SPAN.pack(n, n + len(written)))
        n += len(written) + 1
    article.body.write("".join(lines))
    article.answers.write(b"".join(spans))
    article.n_characters = n


def _spans(spool: IO[bytes], shift: int) -> Iterator[Span]:
    spool.seek(0)
    while packed := spool.read(_SPAN.size):
        first, end = _SPAN.unpack(packed)
        yield first + shift, end + shift


def _n_segments(paragraph: _Paragraph) -> int:
    return 1 + len(paragraph.questions) + sum(answer is not None for _, answer in paragraph.questions)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()) if "\n" in text or "\r" in text else text
