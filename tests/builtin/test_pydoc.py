"""The demo's text is there in every CPython."""

from __future__ import annotations

from pydoc_data.topics import topics

from cllm.builtin.pydoc import PydocDataset


def test_each_topic_is_a_document_in_order() -> None:
    documents = list(PydocDataset().documents())
    assert [document.text for document in documents] == [topics[name] for name in sorted(topics)]
    assert "pydoc_data.topics: assert" in [document.source for document in documents]
    assert sum(len(document.text) for document in documents) > 400_000
