"""Datasets by their names: fetched once from a Hub, and from then on out of the cache, without a network."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from cllm.errors import DataError
from hub import COMMIT, Hub
from reading import documents, read

from cllm_hf.dataset import FiledDataset, made
from cllm_hf.library import network
from cllm_hf.options import DatasetConfig

NAME = "owner/Tales"


def lines(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


@pytest.fixture
def tales(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)  # which would go to a server of its own
    hub.repositories[f"datasets/{NAME}"] = {"train.jsonl": lines("one", "two"), "test.jsonl": lines("three")}
    return hub


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """No connection comes about; those that were tried."""
    tried: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        tried.append(address)
        raise OSError("there is no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield tried


def test_it_is_fetched_once_and_then_in_the_cache(tales: Hub) -> None:
    with pytest.raises(DataError, match=f"no dataset {NAME} in the cache, .*set online = true to fetch it"):
        read(NAME)
    assert read(NAME, online=True) == ["one", "two"]
    n_requests = len(tales.requests)
    tales.repositories.clear()
    for options in ({}, {"streaming": True}, {"name": "default"}, {"revision": COMMIT}):
        assert read(NAME, **options) == ["one", "two"]
        assert read(NAME, split="test", **options) == read(f"{NAME}#test", **options) == ["three"]
    assert read([f"{NAME}#test", NAME]) == ["three", "one", "two"]
    assert documents(NAME)[-1].source == f"{NAME}: train: row 2"
    assert len(tales.requests) == n_requests


def test_streamed_it_leaves_no_copy(tales: Hub, tmp_path: Path) -> None:
    assert read(f"{NAME}#test", online=True, streaming=True) == ["three"]
    assert not list((tmp_path / "cache").rglob("*.arrow"))
    streamed = made(DatasetConfig(source=NAME, online=True, streaming=True))
    assert not isinstance(streamed, FiledDataset)  # what is fetched anew each time lies in no file


def test_what_is_cached_lies_in_files_that_decide_the_text(tales: Hub) -> None:
    read(NAME, online=True)
    source = made(DatasetConfig(source=NAME))
    assert isinstance(source, FiledDataset)
    assert [path.name for path in source.files()] == ["tales-train.arrow", "dataset_info.json"]


@pytest.mark.parametrize(
    ("options", "came"),
    [
        ({"split": "tset"}, "no split 'tset'; expected one of train, test; did you mean \"test\""),
        ({"name": "other"}, "for config 'other' Available configs in the cache"),
        ({"revision": "b" * 40}, f"at the commit {COMMIT}, which the cache has, for revision = 'bbb"),
    ],
)
def test_what_the_cache_has_not_is_refused(tales: Hub, options: dict[str, Any], came: str) -> None:
    read(NAME, online=True)
    with pytest.raises(DataError, match=came):
        read(NAME, **options)


def test_no_reader_unpickles(tales: Hub) -> None:
    tales.repositories["datasets/owner/mail"] = {"train.eval": b"", "more.eval": b""}
    with pytest.raises(DataError, match=r"owner/mail, made of files of another kind \(.*expected files of arrow, csv"):
        read("owner/mail", online=True)


def test_nothing_reaches_for_the_network(tales: Hub, tmp_path: Path, cut_off: list[object]) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines("local"))
    datasets.Dataset.from_dict({"text": ["saved"]}).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "a.jsonl", builder="json") == ["local"]
    assert read(tmp_path / "saved") == ["saved"]
    with pytest.raises(DataError, match="in the cache"):
        read("owner/none")
    assert not cut_off


def test_without_that_care_local_files_would(
    tales: Hub, tmp_path: Path, cut_off: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", True)
    (tmp_path / "a.jsonl").write_bytes(lines("local"))
    with network(False):
        datasets.load_dataset_builder("json", data_files=[str(tmp_path / "a.jsonl")])
    assert not cut_off
    datasets.load_dataset_builder("json", data_files=[str(tmp_path / "a.jsonl")])
    assert cut_off
    assert not datasets.config.HF_HUB_OFFLINE  # as it was
