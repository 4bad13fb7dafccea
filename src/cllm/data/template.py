"""Templates such as "Q: {question} A: {answer}": the text of a record from several of its fields."""

from __future__ import annotations

import string
from collections.abc import Callable


class Template:
    """Text with names of fields in braces; {{ and }} stand for braces themselves.

    Nothing else of Python's formats is obeyed: a name is looked up as it stands, dots and brackets included.
    """

    def __init__(self, parts: list[tuple[str, str | None]]) -> None:
        """parts: texts, each with the name of the field that stands behind it, if one does."""
        self._parts = parts
        self.fields = tuple(dict.fromkeys(name for _, name in parts if name is not None))

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raises ValueError for braces that do not fit, and for formats and conversions in them."""
        parts = []
        for literal, name, form, conversion in string.Formatter().parse(text):
            if name == "" or form or conversion:
                raise ValueError(f"template = {text!r} has braces that hold something else than a name")
            parts.append((literal, name))
        return cls(parts)

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with `value(name)` in the place of each field."""
        return "".join(literal + (value(name) if name is not None else "") for literal, name in self._parts)


def chosen_template(field: str | None, template: str | None, default: str | None, key: str) -> Template:
    """The template that a loader's options say: a field alone, or a template, or else the field `default`.

    key: how the loader calls its fields. Raises ValueError where both are given, nothing at all, or a template
    without a field.
    """
    if field is not None and template is not None:
        raise ValueError(f"{key} and template exclude each other")
    if template is None:
        name = default if field is None else field
        if name is None:
            raise ValueError(f"{key} or template is needed")
        return Template([("", name)])
    made = Template.parse(template)
    if not made.fields:
        raise ValueError(f"template = {template!r} names no {key}, as {{{key}}} in braces would")
    return made
