"""SQuAD files: the text that comes of them, whatever the order of keys, and every kind of file that is refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.builtin import squad
from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.data import jsonevents
from cllm.errors import DataError
from tests.data.helpers import shared, whole_texts

V2: dict[str, Any] = {
    "version": "v2.0",
    "data": [
        {
            "title": "Rivers",
            "paragraphs": [
                {
                    "context": "The Rhine is long.\nThe Elbe too.",
                    "qas": [
                        {
                            "id": "1",
                            "question": "What is long?",
                            "is_impossible": False,
                            "answers": [
                                {"text": "The Rhine", "answer_start": 0},
                                {"text": "Rhine", "answer_start": 4},
                            ],
                        },
                        {
                            "id": "2",
                            "question": "What is short?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "The Elbe", "answer_start": 19}],
                        },
                        {"id": "3", "question": "Who asks?", "answers": []},
                    ],
                },
                {"context": "No questions.", "qas": []},
            ],
        },
        {"title": "Empty", "paragraphs": []},
    ],
}

V2_TEXTS = [
    "# Rivers\n\n"
    "The Rhine is long.\nThe Elbe too.\n\n"
    "Q: What is long?\nA: The Rhine\n\n"
    "Q: What is short?\n\n"
    "Q: Who asks?\n\n"
    "No questions.\n\n",
    "# Empty\n\n",
]


def dataset(folder: Path, value: object) -> SquadDataset:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    (folder / "a.json").write_bytes(data)
    return SquadDataset(SquadConfig(str(folder / "a.json")))


def counts_of(squad_dataset: SquadDataset) -> dict[str, int]:
    totals: dict[str, int] = {}
    for document in squad_dataset.documents():
        for name, count in document.counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals


def paragraph(**changes: Any) -> dict[str, Any]:
    return {"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": []} | changes]}]}


def question(**changes: Any) -> dict[str, Any]:
    return paragraph(qas=[{"question": "q", "answers": []} | changes])


def test_text_and_counts(tmp_path: Path) -> None:
    assert whole_texts(dataset(tmp_path, V2)) == V2_TEXTS
    # 2 titles, 2 contexts, 3 questions, 1 answer
    assert counts_of(dataset(tmp_path, V2)) == {"segments": 8, "context_characters": 32 + 13}
    assert [d.source for d in dataset(tmp_path, V2).documents()] == [
        f"{tmp_path}/a.json: {t}" for t in ("Rivers", "Empty")
    ]


def shuffled(value: Any, draw: Callable[[Any], Any]) -> Any:
    """The same JSON with the keys of its objects in another order and strange ones among them."""
    if isinstance(value, list):
        return [shuffled(item, draw) for item in value]
    if not isinstance(value, dict):
        return value
    strange = draw(
        st.dictionaries(
            st.sampled_from(["x", "contexts", "Title", ""]),
            st.sampled_from([None, [{"data": []}], 1.5]),
            max_size=2,
        )
    )
    pairs = draw(st.permutations([*strange.items(), *((key, shuffled(item, draw)) for key, item in value.items())]))
    return dict(pairs)


@given(
    data=st.data(),
    ascii_only=st.booleans(),
    size=st.integers(1, 100),
    spool=st.sampled_from([1, 30, 1 << 20]),
)
@settings(deadline=None, max_examples=60)
def test_order_of_keys_and_size_of_pieces_change_nothing(
    data: st.DataObject, ascii_only: bool, size: int, spool: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = json.dumps(shuffled(V2, data.draw), ensure_ascii=ascii_only, indent=data.draw(st.sampled_from([None, 1])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonevents, "_FEED_BYTES", size)
        patch.setattr(squad, "_SPOOL_BYTES", spool)
        patch.setattr(squad, "PIECE_CHARACTERS", size)
        articles = dataset(tmp_path_factory.mktemp("squad"), text.encode())
        assert whole_texts(articles) == V2_TEXTS
        assert counts_of(articles) == {"segments": 8, "context_characters": 45}


def test_impossible_question_has_no_answer_whatever_it_lists(tmp_path: Path) -> None:
    answers = [{"text": "a"}]
    assert whole_texts(dataset(tmp_path, question(is_impossible=True, answers=answers))) == ["# t\n\nc\n\nQ: q\n\n"]
    assert whole_texts(dataset(tmp_path, question(is_impossible=False, answers=answers))) == [
        "# t\n\nc\n\nQ: q\nA: a\n\n"
    ]


def test_version_1_has_no_is_impossible_and_answers_may_lack(tmp_path: Path) -> None:
    assert whole_texts(dataset(tmp_path, paragraph(qas=[{"question": "q"}]))) == ["# t\n\nc\n\nQ: q\n\n"]


def test_entries_of_one_line_stay_on_one(tmp_path: Path) -> None:
    value = question(question="a\nA: b\r\nc", answers=[{"text": "x\n\ny"}])
    value["data"][0]["title"] = "one\ntwo"
    assert whole_texts(dataset(tmp_path, value)) == ["# one two\n\nc\n\nQ: a A: b c\nA: x  y\n\n"]


def test_texts_of_any_characters_come_through(tmp_path: Path) -> None:
    text = 'é — 😀 \u2028 \0 \x7f "quoted" \\ \t'
    assert whole_texts(dataset(tmp_path, paragraph(context=text))) == [f"# t\n\n{text}\n\n"]
    ascii_escapes = json.dumps(paragraph(context=text)).encode()
    assert whole_texts(dataset(tmp_path, b"\xef\xbb\xbf" + ascii_escapes)) == [f"# t\n\n{text}\n\n"]


def test_several_files_follow_each_other(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(json.dumps({"data": [{"title": name, "paragraphs": []}]}))
    both = SquadDataset(SquadConfig([str(tmp_path / "b"), str(tmp_path / "a")]))
    assert whole_texts(both) == ["# b\n\n", "# a\n\n"] and both.files() == [tmp_path / "b", tmp_path / "a"]
    with pytest.raises(DataError, match="no source"):
        SquadDataset(SquadConfig([]))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], r"the file is an array; expected an object"),
        ({}, r"no articles; expected an object with a list \"data\""),
        ({"data": []}, r"no articles"),
        ({"data": {}}, r'"data" is an object; expected an array'),
        ({"data": [1]}, r"article 1, .*the article is a number; expected an object"),
        ({"data": [{"paragraphs": []}]}, r'article 1, .*an article without "title"'),
        ({"data": [{"title": "t"}]}, r'an article without "title" or "paragraphs"'),
        ({"data": [{"title": None, "paragraphs": []}]}, r"the title is null; expected a string"),
        (paragraph(context=1), r"article 1, paragraph 1, .*the context is a number"),
        (paragraph(qas=None), r'"qas" is null'),
        ({"data": [{"title": "t", "paragraphs": [{"qas": []}]}]}, r'a paragraph without "context" or "qas"'),
        (
            {"data": [{"title": "t", "paragraphs": [{"context": "c"}]}]},
            r'a paragraph without "context" or "qas"',
        ),
        (paragraph(qas=[{}]), r'article 1, paragraph 1, question 1, .*a question without "question"'),
        (question(question=["q"]), r"the question is an array"),
        (question(answers={"text": "a"}), r'"answers" is an object'),
        (question(answers=[{"answer_start": 3}]), r'an answer without "text"'),
        (question(answers=[{"text": 308}]), r"the answer's text is a number"),
        (question(is_impossible="false"), r'"is_impossible" is a string; expected true or false'),
        (paragraph(qas=[{"question": "q"}, {"question": 1}]), r"question 2, "),
    ],
)
def test_wrong_schema_is_refused_with_its_place(tmp_path: Path, value: object, reason: str) -> None:
    with pytest.raises(DataError, match=rf"squad: .*a\.json: .*{reason}"):
        whole_texts(dataset(tmp_path, value))


@pytest.mark.parametrize(
    "key", ["title", "context", "question", "text", "is_impossible", "answers", "qas", "paragraphs", "data"]
)
def test_keys_that_stand_twice_are_refused(tmp_path: Path, key: str) -> None:
    text = json.dumps(question(answers=[{"text": "a"}], is_impossible=False))
    member = next(f'"{key}": {json.dumps(value)}' for value in _values(json.loads(text), key))
    assert member in text
    with pytest.raises(DataError, match=f'"{key}" stands twice'):
        whole_texts(dataset(tmp_path, text.replace(member, f"{member}, {member}", 1).encode()))


def _values(value: Any, key: str) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in _values(item, key)]
    if not isinstance(value, dict):
        return []
    return ([value[key]] if key in value else []) + [found for item in value.values() for found in _values(item, key)]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = json.dumps(V2, ensure_ascii=False).encode()
    for size in range(0, len(whole), 11):
        with pytest.raises(DataError, match=r"a\.json"):
            whole_texts(dataset(tmp_path, whole[:size]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n", "broken JSON"),
        (bytes(range(256)), "at byte 0 it has a zero byte: it is binary"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (json.dumps(V2).encode("utf-16"), "UTF-16"),
        (json.dumps(V2).encode().replace(b"Rhine", b"Rh\xefne"), r"at byte \d+ it is not UTF-8"),
        (json.dumps(V2).encode() + b"{}", "broken JSON"),
        (json.dumps(V2).encode().replace(b'start": 0', b'start": NaN'), "broken JSON"),
        (json.dumps(paragraph(context="\ud800")).encode(), "half of a surrogate pair"),
        (json.dumps(paragraph(x="\udc00")).encode(), "half of a surrogate pair"),
        (b"[" * 1_000_000, "the file is an array"),
        (b'{"x":' + b"[" * 1_000_000, "nested more than 64 deep"),
        (
            b'{"data":[{"title":"t","paragraphs":[{"x":' + b'{"a":' * 100_000,
            "paragraph 1, .*nested more than 64 deep",
        ),
        (b"# Not JSON", "broken JSON"),
    ],
)
def test_what_is_no_squad_file_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        whole_texts(dataset(tmp_path, data))


def test_numbers_that_are_not_used_may_be_any(tmp_path: Path) -> None:
    text = json.dumps(question(answers=[{"text": "a", "answer_start": 0}])).replace(
        '"answer_start": 0', '"answer_start": 1e999'
    )
    assert whole_texts(dataset(tmp_path, text.encode())) == ["# t\n\nc\n\nQ: q\nA: a\n\n"]


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for name in ("missing.json", "."):
        with pytest.raises(DataError, match=r"squad: .*(No such file|directory)"):
            whole_texts(SquadDataset(SquadConfig(str(tmp_path / name))))


def test_a_paragraph_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squad, "MAX_PARAGRAPH_CHARACTERS", 1000)
    whole_texts(dataset(tmp_path, paragraph(context="x" * 1000)))
    for value in (
        paragraph(context="x" * 1001),
        paragraph(qas=[{"question": ""}] * 20),
        question(answers=[{"text": "x" * 999}]),
    ):
        with pytest.raises(DataError, match=r"article 1, paragraph 1.*a paragraph of more than"):
            whole_texts(dataset(tmp_path, value))


def test_full_temporary_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    with pytest.raises(DataError, match=r"squad: cannot use .*No space left"):
        whole_texts(dataset(tmp_path, V2))


def test_xquad_gives_the_known_counts() -> None:
    articles = SquadDataset(SquadConfig(str(shared("xquad.en.json"))))
    assert counts_of(articles) == {"segments": 2_668, "context_characters": 188_362}
    texts = whole_texts(articles)
    assert len(texts) == 48 and texts[0].startswith("# Super_Bowl_50\n\nThe Panthers defense gave up just 308 points")
    assert all(text.endswith("\n\n") for text in texts)
