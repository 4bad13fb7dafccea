"""The options of both parts, and names on the Hub: checked before the libraries are imported, which takes a second."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from cllm.data import Template, chosen_template
from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1, description="some text")]

# What `builder` can name, and the files of a folder that it takes.
KINDS = {
    "arrow": (".arrow",),
    "csv": (".csv", ".tsv"),
    "json": (".json", ".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
    "text": (".txt",),
}

_OF_THE_HUB = ("name", "revision", "online", "streaming")


class DatasetConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """source: a dataset's name on the Hub, as in "owner/name" or "owner/name#split"; a folder of save_to_disk; several

    builder: read `source` as local files of this kind: arrow, csv, json, parquet or text
    name: the configuration of a dataset that has several
    split: left out, "train", or the only one that there is
    revision: the commit of the dataset; with online = true also a branch or a tag
    online: whether the Hub may be asked; otherwise nothing reaches for the network
    streaming: read a dataset of the Hub as it comes, instead of from a copy in the cache that is mapped
    field: the field that has the text, as in "text" or "answers.text"; left out, and without a template, "text"
    template: text with names of fields in braces, as in "Q: {question} A: {answers.text}"
    answers: fields whose text is an answer, for [data] loss = "answers"
    end: what is put behind each document
    """

    source: str | list[str]
    builder: Literal["arrow", "csv", "json", "parquet", "text"] | None = None
    name: Text | None = None
    split: Text | None = None
    revision: Text | None = None
    online: bool = False
    streaming: bool = False
    field: str | None = None
    template: str | None = None
    answers: list[str] = []
    end: str = "\n"

    def __post_init__(self) -> None:
        self.chosen()
        of_no_file = [key for key in ("split", *_OF_THE_HUB) if getattr(self, key)]
        if self.builder is not None and of_no_file:
            raise ValueError(f"builder reads local files, which have no {of_no_file[0]}")

    def chosen(self) -> Template:
        """The template that field, template and answers say. Raises ValueError where they do not fit."""
        return chosen_template(self.field, self.template, "text", "field", self.answers)

    def of_the_hub(self) -> list[str]:
        """Which options were given that say something of a dataset of the Hub alone."""
        return [key for key in _OF_THE_HUB if getattr(self, key)]


class TokenizerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """name: of a model, or another repository, on the Hub that has a tokenizer.json, as in "openai-community/gpt2"

    revision: its commit, branch or tag; left out, the branch main as the cache has it
    online: whether the Hub may be asked for what the cache lacks; otherwise nothing reaches for the network
    """

    name: Text
    revision: Text | None = None
    online: bool = False


def is_hub_name(text: str) -> bool:
    """Whether a repository on the Hub can be called so: "name" or "owner/name", which no URL is."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", text, re.ASCII) is not None
