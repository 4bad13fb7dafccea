"""Answers: marked by loaders, kept through tokens, files and sections, whatever the pieces in which documents come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cllm.builtin.csv import CsvConfig, CsvDataset
from cllm.builtin.jsonl import JsonlConfig, JsonlDataset
from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.data import answerspool, tokenfile
from cllm.data.answers import Span, Spans
from cllm.data.answerspool import AnswerSpool
from cllm.data.intake import encode
from cllm.data.prepare import prepare
from cllm.data.template import chosen_template
from cllm.data.tokenfile import TokenFile
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.data.tokenstats import token_stats
from cllm.data.tokenwrite import write_tokens
from cllm.errors import PluginError, TokenFileError, TokenizerError
from cllm.hooks.protocols import Dataset, Document, Tokenizer
from tests.data.helpers import MANY_SCRIPTS, huggingface_tokenizers, shared


@dataclass(frozen=True)
class Marked:
    """Documents with answers, each cut at the same places."""

    documents_: Sequence[tuple[str, Sequence[Span]]]
    cuts: Sequence[int] = ()

    def documents(self) -> Iterator[Document]:
        for text, answers in self.documents_:
            spans, places = Spans(answers), [0, *(cut for cut in self.cuts if cut < len(text)), len(text)]
            for begin, end in pairwise(places):
                yield Document(text[begin:end], "text", begin, begin > 0, answers=spans.within(begin, end))


def spans_of(bounds: Sequence[int]) -> list[Span]:
    """Disjoint spans from places that rise; neighbours may touch where a place comes twice."""
    return [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=False) if a < b]


BOUNDS = st.lists(st.integers(0, 40), max_size=8).map(sorted)
DOCUMENTS = st.lists(
    st.tuples(st.text("ab é\n", min_size=41, max_size=45), BOUNDS.map(spans_of)), min_size=1, max_size=4
)
CUTS = st.sets(st.integers(1, 44)).map(sorted)


def answers_of(path: Path, tokenizer: Tokenizer) -> list[str]:
    file = TokenFile.open(path)
    file.verify()
    return [tokenizer.decode(file.tokens[first:end]) for first, end in file.answers.tolist()]


def wanted(documents: Sequence[tuple[str, Sequence[Span]]]) -> list[str]:
    """The answers' texts, those that touch as one."""
    texts = []
    for text, answers in documents:
        end_before = -1
        for first, end in answers:
            if first == end_before:
                texts[-1] += text[first:end]
            else:
                texts.append(text[first:end])
            end_before = end
    return texts


@given(DOCUMENTS, CUTS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_answers_do_not_depend_on_pieces(
    tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[str, list[Span]]], cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answerspool, "_CHUNK", 2)
        for name, tokenizer in (("byte", ByteTokenizer()), ("char", CharTokenizer("ab é\n"))):
            for pieces, given_cuts in (("whole", []), ("cut", cuts)):
                prepare(Marked(documents, given_cuts), tokenizer, folder / name / pieces, 0)
            whole, cut = (folder / name / pieces / "train.tokens" for pieces in ("whole", "cut"))
            assert whole.read_bytes() == cut.read_bytes()
            assert answers_of(cut, tokenizer) == wanted(documents)


@given(DOCUMENTS, CUTS, st.sampled_from([0.1, 0.5, 0.9]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_answers_go_with_their_documents(
    tmp_path_factory: pytest.TempPathFactory, documents: list[tuple[str, list[Span]]], cuts: list[int], share: float
) -> None:
    """To training, to validation and, from one document that is cut for it, to both."""
    out = tmp_path_factory.mktemp("parts") / "out"
    prepare(Marked(documents, cuts), ByteTokenizer, out, share)
    found: list[tuple[bytes, bytes]] = []
    for name in ("train.tokens", "validation.tokens"):
        file = TokenFile.open(out / name)
        marks = np.zeros(file.n_tokens, np.uint8)
        for first, end in file.answers.tolist():
            marks[first:end] = 1
        starts = [*file.document_starts.tolist(), file.n_tokens]
        assert (file.is_answer(np.arange(file.n_tokens)) == marks).all()
        found += [(file.tokens[a:b].tobytes(), marks[a:b].tobytes()) for a, b in pairwise(starts)]
    expected: list[tuple[bytes, bytes]] = []
    for text, answers in documents:
        mark = bytes(any(a <= place < b for a, b in answers) for place, c in enumerate(text) for _ in c.encode())
        expected.append((text.encode(), mark))
    if len(found) > len(expected):  # the end of one is held out
        *found, (text_of_end, mark_of_end) = found
        made = [[*found] for _ in found]
        for number, one in enumerate(made):
            one[number] = (one[number][0] + text_of_end, one[number][1] + mark_of_end)
        assert sorted(expected) in map(sorted, made)
    else:
        assert sorted(found) == sorted(expected)


def test_bpe_answers_are_encoded_by_themselves(tmp_path: Path) -> None:
    huggingface_tokenizers()
    from cllm.data.bpe import BpeConfig, BpeTokenizer

    text = ("Q: " + MANY_SCRIPTS + "\nA: the end of the end\n\n") * 20
    tokenizer = BpeTokenizer.from_texts([text], BpeConfig(400))
    prompt = text.index("A:") + 2
    answers = [(prompt, text.index("\n", prompt) + 1)]
    document = Document(text, "text", answers=answers)
    encoded = encode(tokenizer, document)
    [(first, end)] = encoded.answers.tolist()
    assert encoded.tokens[:first].tolist() == tokenizer.encode(text[:prompt]).tolist()
    assert encoded.tokens[first:end].tolist() == tokenizer.encode(" the end of the end\n").tolist()
    assert tokenizer.decode(encoded.tokens) == text
    odd = encode(tokenizer, replace(document, answers=[(prompt + 3, prompt + 7)]))  # both ends within a word
    [(first, end)] = odd.answers.tolist()
    assert tokenizer.decode(odd.tokens[first:end]) == text[prompt + 3 : prompt + 7] == "e en"
    assert odd.tokens.tolist() != encode(tokenizer, replace(document, answers=())).tokens.tolist()
    prepare(Marked([(text, answers)]), tokenizer, tmp_path / "out", 0)
    assert answers_of(tmp_path / "out/train.tokens", tokenizer) == [" the end of the end\n"]


class Given:
    def __init__(self, *answers: Any) -> None:
        self.answers = answers

    def documents(self) -> Iterator[Document]:
        yield Document("some text", "here", answers=self.answers)


@pytest.mark.parametrize(
    "answers",
    [[(0, 0)], [(-1, 2)], [(3, 10)], [(4, 2)], [(0, 3), (2, 4)], [(4, 5), (0, 1)], [(0, 1.0)], [(0,)], [None], ["ab"]],
)
def test_impossible_answers_name_the_loader(tmp_path: Path, answers: list[Any]) -> None:
    with pytest.raises(PluginError, match=r"loader Given: here: the answer .* in 9 characters"):
        prepare(Given(*answers), ByteTokenizer, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_unknown_characters_are_placed_behind_an_answer_too() -> None:
    document = Document("abcabz", "here", 10, continues=True, answers=[(1, 4)])
    with pytest.raises(TokenizerError, match=r"here, from character 14 on: character 'z' .* at place 1 of"):
        encode(CharTokenizer("abc"), document)


def test_duplicates_take_their_answers_with_them(tmp_path: Path) -> None:
    texts = [("one two", [(0, 3)]), ("three", [(1, 2)]), ("one two", [(4, 7)]), ("four", [(0, 4)])]
    prepare(Marked(texts, [2]), ByteTokenizer, tmp_path / "out", 0, dedup=True)
    assert answers_of(tmp_path / "out/train.tokens", ByteTokenizer()) == ["one", "h", "four"]


def test_spool_merges_within_a_document_alone(tmp_path: Path) -> None:
    spool = AnswerSpool(tmp_path)
    for begins, spans in ((True, [(0, 2), (2, 3)]), (False, [(3, 5), (7, 9)]), (True, [(9, 10)]), (False, [])):
        if begins:
            spool.begin_document()
        spool.add(np.array(spans, np.int64).reshape(-1, 2), 0)
    assert np.concatenate(list(spool.within(np.array([[0, 9], [9, 12]])))).tolist() == [[0, 5], [7, 9], [9, 10]]
    assert np.concatenate(list(spool.within(np.array([[4, 8]])))).tolist() == [[0, 1], [3, 4]]
    spool.close()
    assert not list(tmp_path.iterdir())


# Files.


def test_file_without_answers_has_the_bytes_that_it_had(tmp_path: Path) -> None:
    write_tokens(tmp_path / "a.tokens", [1, 2, 3], 5)
    data = (tmp_path / "a.tokens").read_bytes()
    assert b"n_answers" not in data and TokenFile.open(tmp_path / "a.tokens").answers.shape == (0, 2)
    write_tokens(tmp_path / "b.tokens", [1, 2, 3], 5, answers=[(1, 2)])
    file = TokenFile.open(tmp_path / "b.tokens")
    assert (file.n_answers, file.answers.tolist()) == (1, [[1, 2]]) and not file.answers.flags.writeable


@pytest.mark.parametrize("chunk", [1, 2, 100])
@pytest.mark.parametrize(
    "answers", [[(0, 0)], [(2, 1)], [(-1, 2)], [(9, 11)], [(0, 2), (1, 3)], [(0, 1), (4, 6), (2, 3)], [(0, 1)] * 3]
)
def test_answers_out_of_order_are_refused(
    tmp_path: Path, answers: list[Span], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenfile, "_CHUNK_STARTS", chunk)
    write_tokens(tmp_path / "a.tokens", range(10), 10, answers=[(0, 1), (1, 3), (9, 10)])
    TokenFile.open(tmp_path / "a.tokens")
    write_tokens(tmp_path / "a.tokens", range(10), 10, answers=answers)
    with pytest.raises(TokenFileError, match="answer"):
        TokenFile.open(tmp_path / "a.tokens")


def test_flipped_bytes_of_answers_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    write_tokens(path, range(20), 20, [0, 7], [(2, 3), (5, 9)])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with pytest.raises(TokenFileError):
            TokenFile.open(path).verify()


@given(BOUNDS.map(spans_of), st.integers(0, 39), st.integers(1, 40))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sections_clip_answers(tmp_path: Path, answers: list[Span], first: int, size: int) -> None:
    write_tokens(tmp_path / "a.tokens", range(40), 40, answers=answers)
    file, end = TokenFile.open(tmp_path / "a.tokens"), min(40, first + size)
    section = file.section(first, end)
    assert section.is_answer(np.arange(end - first)).tolist() == file.is_answer(np.arange(first, end)).tolist()
    clipped = [(max(a, first) - first, min(b, end) - first) for a, b in answers]
    assert section.answers.tolist() == [list(span) for span in clipped if span[0] < span[1]]
    assert section.n_answers == len(section.answers)


# Loaders.


def marked_texts(dataset: Dataset) -> list[str]:
    return [document.text[a:b] for document in dataset.documents() for a, b in document.answers]


def test_records_mark_the_fields_that_answers_names(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "x", "a": "1"}\n{"q": "y", "a": ""}\n{"q": "", "a": "22"}\n')
    (tmp_path / "a.csv").write_text("q,a\nx,1\ny,\n,22\n")
    for kind, options, suffix in ((JsonlDataset, JsonlConfig, "jsonl"), (CsvDataset, CsvConfig, "csv")):
        source = str(tmp_path / f"a.{suffix}")
        made: Any = kind
        how: Any = options
        last = made(how(source=source, template="{q}: {a}", answers=["a"]))
        assert marked_texts(last) == ["1\n", "\n", "22\n"]
        middle = made(how(source=source, template="{q}: {a}.", answers=["a"]))
        assert marked_texts(middle) == ["1", "22"]
        both = made(how(source=source, template="{q}{a}", answers=["q", "a"], end=""))
        assert marked_texts(both) == ["x", "1", "y", "22"]
        assert marked_texts(made(how(source=source, template="{q}: {a}"))) == []
        for wrong in ({"template": "{q}", "answers": ["a"]}, {"answers": ["txt"]}):
            with pytest.raises(ValueError, match=r"answers has '(a|txt)', and the text is made of '(q|text)'"):
                how(source=source, **wrong)


def test_a_field_alone_may_be_an_answer() -> None:
    document = chosen_template("a", None, None, "field", ["a"]).document(lambda _: "so", "\n", "here")
    assert document is not None and (document.text, list(document.answers)) == ("so\n", [(0, 3)])


@pytest.mark.parametrize("piece", [7, 100, 1 << 20])
def test_squad_answers_begin_with_a_space_and_end_their_line(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr("cllm.builtin.squad.PIECE_CHARACTERS", piece)
    documents = list(SquadDataset(SquadConfig(str(shared("xquad.en.json")))).documents())
    text = "".join(document.text for document in documents)
    n, spans = 0, []
    for document in documents:
        for first, end in document.answers:
            if spans and spans[-1][1] == n + first:
                spans[-1] = (spans[-1][0], n + end)
            else:
                spans.append((n + first, n + end))
        n += len(document.text)
    lines = [line for line in text.split("\n") if line.startswith("A: ")]
    assert [text[a:b] for a, b in spans] == [line[2:] + "\n" for line in lines] and len(lines) == 1190
    assert all(text[a - 2 : a] == "A:" and text[b] == "\n" for a, b in spans)


def test_xquad_shows_its_share_of_answers(tmp_path: Path) -> None:
    prepare(SquadDataset(SquadConfig(str(shared("xquad.en.json")))), ByteTokenizer, tmp_path / "out", 0)
    stats = token_stats(tmp_path / "out" / "train.tokens", 1, 1, 1)
    file = TokenFile.open(tmp_path / "out" / "train.tokens")
    assert stats.n_answers == 1190 and stats.n_answer_tokens == int(file.is_answer(np.arange(file.n_tokens)).sum())
