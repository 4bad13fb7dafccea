"""The reference of the kernel ABI, read from its header: the contract, each struct with its fields, each constant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cllm
from tests.docs.layout import code, table

HEADER = Path(cllm.get_include()) / "cllm" / "kernel_abi.h"
COMMENT = re.compile(r"/\*(.*?)\*/", re.DOTALL)
STRUCT = re.compile(r"/\*(?P<what>(?:(?!\*/).)*)\*/\n(?:typedef struct cllm_\w+ \w+;\n)?"
                    r"(?:typedef struct|struct \w+) \{\n(?P<body>.*?)\n\}(?: (?P<name>\w+))?;", re.DOTALL)
CONSTANT = re.compile(r"^(?:#define (?P<defined>CLLM_\w+)|    (?P<listed>CLLM_\w+) =) (?P<value>-?\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Field:
    declaration: str
    meaning: str


def contract() -> Iterator[str]:
    """The comment at the top of the header."""
    text = COMMENT.search(HEADER.read_text(encoding="utf-8"))
    assert text is not None
    lines = [line.removeprefix(" *").removeprefix(" ") for line in text[1].strip().splitlines()]
    yield "\n".join(re.sub(r"\b(__cllm_\w+__\(\)|cllm_\w+|[A-Z]+_[A-Z_]+)", r"`\1`", line.rstrip()) for line in lines)


def structs() -> Iterator[str]:
    seen: dict[str, str] = {}
    for match in STRUCT.finditer(HEADER.read_text(encoding="utf-8")):
        yield f"\n## {match['name'] or 'cllm_op_call'}\n\n{_flowing(match['what'])}\n"
        known = [(f.declaration, f.meaning or seen.get(f.declaration, "")) for f in fields(match["body"])]
        assert all(meaning for _, meaning in known), f"a field without a comment: {known}"
        seen |= {declaration: "as in cllm_reducer" for declaration, _ in known}
        yield from table(("Field", "Meaning"), ((code(declaration), meaning) for declaration, meaning in known))


def fields(body: str) -> Iterator[Field]:
    """What a comment says after a field, or else before one and those that follow it."""
    before = ""
    for part in re.split(r"(?<=\*/)\n|(?<=;)\n|\n\n", body):
        comments = " ".join(_flowing(text) for text in COMMENT.findall(part))
        declaration = _flowing(COMMENT.sub("", part)).rstrip(";")
        if declaration:
            yield Field(declaration, comments or before)
            before = "" if not comments else before
        else:
            before = comments


def constants() -> Iterator[str]:
    text = HEADER.read_text(encoding="utf-8")
    rows = ((code(m["defined"] or m["listed"]), code(m["value"].rstrip("u"))) for m in CONSTANT.finditer(text))
    yield from table(("Constant", "Value"), rows)


def _flowing(text: str) -> str:
    """Its words in one line, without the stars of a comment."""
    return " ".join(re.sub(r"\n *\* ?", " ", text).split())
