"""Templates such as "Q: {question} A: {answer}": the text of a record from several of its fields."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from cllm.hooks.protocols import Document


class Template:
    """Text with names of fields in braces; {{ and }} stand for braces themselves.

    Nothing else of Python's formats is obeyed: a name is looked up as it stands, dots and brackets included.
    """

    def __init__(self, parts: list[tuple[str, str | None]], answers: Sequence[str] = ()) -> None:
        """parts: texts, each with the name of the field that stands behind it, if one does. answers: of these names."""
        self._parts = parts
        self._answers = frozenset(answers)
        self.fields = tuple(dict.fromkeys(name for _, name in parts if name is not None))

    @classmethod
    def parse(cls, text: str, answers: Sequence[str] = ()) -> Template:
        """Raises ValueError for braces that do not fit, and for formats and conversions in them."""
        parts = []
        for literal, name, form, conversion in string.Formatter().parse(text):
            if name == "" or form or conversion:
                raise ValueError(f"template = {text!r} has braces that hold something else than a name")
            parts.append((literal, name))
        return cls(parts, answers)

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with `value(name)` in the place of each field."""
        return "".join(literal + (value(name) if name is not None else "") for literal, name in self._parts)

    def document(self, value: Callable[[str], str], end: str, source: str) -> Document | None:
        """A record as a document, with `end` behind it, and its answers marked; None for a record without text.

        An answer is the text of its field, and `end` too where nothing stands between them.
        """
        texts, answers, n = [], [], 0
        for literal, name in self._parts:
            text = value(name) if name is not None else ""
            texts += [literal, text]
            n += len(literal)
            if name in self._answers:
                answers.append((n, n + len(text)))
            n += len(text)
        if not n:
            return None
        if answers and self._parts[-1][1] in self._answers:
            answers[-1] = (answers[-1][0], n + len(end))
        return Document("".join([*texts, end]), source, answers=[span for span in answers if span[0] < span[1]])


def chosen_template(
    field: str | None, template: str | None, default: str | None, key: str, answers: Sequence[str] = ()
) -> Template:
    """The template that a loader's options say: a field alone, or a template, or else the field `default`.

    key: how the loader calls its fields. answers: those whose text is an answer. Raises ValueError where both are
    given, nothing at all, a template without a field, or an answer that is none of its fields.
    """
    made = _chosen(field, template, default, key, answers)
    for name in answers:
        if name not in made.fields:
            raise ValueError(f"answers has {name!r}, and the text is made of {', '.join(map(repr, made.fields))}")
    return made


def _chosen(
    field: str | None, template: str | None, default: str | None, key: str, answers: Sequence[str]
) -> Template:
    if field is not None and template is not None:
        raise ValueError(f"{key} and template exclude each other")
    if template is None:
        name = default if field is None else field
        if name is None:
            raise ValueError(f"{key} or template is needed")
        return Template([("", name)], answers)
    made = Template.parse(template, answers)
    if not made.fields:
        raise ValueError(f"template = {template!r} names no {key}, as {{{key}}} in braces would")
    return made
