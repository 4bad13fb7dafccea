"""Local files as the library reads them, folders of save_to_disk, and the fields of their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from cllm.errors import DataError
from reading import answers, documents, read

from cllm_hf.dataset import FiledDataset, made
from cllm_hf.options import DatasetConfig

TEXTS = ["one", "twö", "", "three, with a comma"]
XQUAD = Path(__file__).resolve().parents[4] / "shared" / "data" / "xquad.en.json"


def dataset(**columns: list[Any]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns or {"text": TEXTS, "n": [1, 2, 3, 4]})


def write(kind: str, folder: Path) -> Path:
    path = folder / f"a.{kind}"
    if kind == "text":
        path.write_text("\n".join(TEXTS), encoding="utf-8")
    elif kind == "arrow":
        dataset().save_to_disk(folder / "saved")
        next((folder / "saved").glob("*.arrow")).rename(path)
    else:
        getattr(dataset(), f"to_{kind}")(path)
    return path


@pytest.mark.parametrize("kind", ["arrow", "json", "parquet", "text"])
def test_files_of_every_kind_have_the_same_texts(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path)
    assert read(path, builder=kind) == [text for text in TEXTS if text]
    assert documents(path, builder=kind)[-1].source == f"{path}: row 4"


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('q,a\nwho,"you, me"\nwhat,that\n')
    assert read(path, builder="csv", template="{q}: {a}") == ["who: you, me", "what: that"]
    (tmp_path / "b.tsv").write_text("q\ta\nwhere\there, there\n")
    assert read(tmp_path, builder="csv", template="{q}: {a}")[-1] == "where: here, there"


def test_the_files_of_a_folder_come_in_order_whatever_their_names(tmp_path: Path) -> None:
    names = ("a9.jsonl", "a10.jsonl", "b[1].jsonl", "b1.jsonl", "c*.jsonl")
    for name in names:
        (tmp_path / name).write_text(json.dumps({"text": name}))
    assert sorted(read(tmp_path, builder="json")) == sorted(names)
    assert read(tmp_path, builder="json")[:2] == ["a9.jsonl", "a10.jsonl"]
    (tmp_path / "a::b.jsonl").write_text(json.dumps({"text": "no"}))
    with pytest.raises(DataError, match=r"a::b\.jsonl"):
        read(tmp_path / "a::b.jsonl", builder="json")


def test_a_saved_folder_with_splits_or_without(tmp_path: Path) -> None:
    both = datasets.DatasetDict({"train": dataset(), "test": dataset(text=["held out"])})
    both.save_to_disk(tmp_path / "both")
    assert read(tmp_path / "both") == read(tmp_path / "both" / "train") == [text for text in TEXTS if text]
    assert read(tmp_path / "both", split="test") == read([str(tmp_path / "both" / "test")]) == ["held out"]
    datasets.DatasetDict({"test": dataset(text=["alone"])}).save_to_disk(tmp_path / "one")
    assert read([str(tmp_path / "one"), str(tmp_path / "both" / "test")]) == ["alone", "held out"]


def test_what_decides_the_text_of_a_saved_folder_are_its_data_and_its_labels(tmp_path: Path) -> None:
    def saved(name: str, labels: list[str]) -> list[bytes]:
        features = datasets.Features({"text": datasets.Value("string"), "kind": datasets.ClassLabel(names=labels)})
        datasets.Dataset.from_dict({"text": ["a", "b"], "kind": [0, 1]}, features).save_to_disk(tmp_path / name)
        source = made(DatasetConfig(source=str(tmp_path / name), template="{kind} {text}"))
        assert isinstance(source, FiledDataset)
        assert [document.text for document in source.documents()] == [f"{labels[0]} a\n", f"{labels[1]} b\n"]
        return [path.read_bytes() for path in source.files()]

    assert saved("one", ["bad", "good"]) == saved("two", ["bad", "good"]) != saved("three", ["no", "yes"])


def test_a_column_that_is_called_as_a_field_within_another_comes_first(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"a.b": ["whole"], "a": [{"b": "within", "c": ["first", "second"]}]}
    dataset(**columns).save_to_disk(tmp_path / "a")
    assert read(tmp_path / "a", template="{a.b} {a.c}") == ["whole first"]


def test_answers_as_squad_has_them(tmp_path: Path) -> None:
    found = [{"text": ["1", "one"], "answer_start": [3, 5]}, {"text": [], "answer_start": []}]
    dataset(question=["first?", "none?"], answers=found).save_to_disk(tmp_path / "a")
    options = {"template": "Q: {question} A: {answers.text}", "answers": ["answers.text"]}
    taken = documents(tmp_path / "a", **options)
    assert [document.text for document in taken] == ["Q: first? A: 1\n", "Q: none? A: \n"]
    assert answers(taken) == ["1\n", "\n"]


@pytest.mark.skipif(not XQUAD.exists(), reason="the file lies beside a developer's clone")
def test_the_questions_of_xquad_by_all_ways(tmp_path: Path) -> None:
    articles = json.loads(XQUAD.read_text(encoding="utf-8"))["data"]
    rows = [
        {"context": paragraph["context"], "question": question["question"],
         "answers": {key: [answer[key] for answer in question["answers"]] for key in ("text", "answer_start")}}
        for article in articles for paragraph in article["paragraphs"] for question in paragraph["qas"]
    ]  # fmt: skip
    whole = datasets.Dataset.from_list(rows)
    whole.save_to_disk(tmp_path / "saved")
    for kind in ("json", "parquet"):
        getattr(whole, f"to_{kind}")(tmp_path / f"a.{kind}")
    options = {"template": "{context}\nQ: {question}\nA: {answers.text}", "answers": ["answers.text"]}
    ways = [
        documents(tmp_path / "saved", **options),
        *(documents(tmp_path / f"a.{kind}", builder=kind, **options) for kind in ("json", "parquet")),
    ]
    expected = [f"{row['context']}\nQ: {row['question']}\nA: {row['answers']['text'][0]}\n" for row in rows]
    assert len(expected) == 1190
    for way in ways:
        assert [document.text for document in way] == expected
        assert answers(way) == [row["answers"]["text"][0] + "\n" for row in rows]
