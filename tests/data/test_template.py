"""Templates: names in braces are filled in, and nothing else of Python's formats is obeyed."""

from __future__ import annotations

import pytest

from cllm.data.template import chosen_template


def filled(template: str, **values: str) -> str:
    return chosen_template(None, template, None, "field").fill(values.__getitem__)


def test_names_are_filled_in_and_braces_can_be_written() -> None:
    assert filled("Q: {q}\nA: {a}{q}", q="why {a}?", a="so") == "Q: why {a}?\nA: sowhy {a}?"
    assert filled("{{{q}}} }}{{", q="x") == "{x} }{"


def test_dots_and_brackets_belong_to_the_name() -> None:
    made = chosen_template(None, "{a.b} {a[0]} {two words}", None, "field")
    assert made.fields == ("a.b", "a[0]", "two words")


@pytest.mark.parametrize("template", ["{q", "q}", "{}", "{q!r}", "{q:>5}", "{q:{w}}"])
def test_other_braces_are_refused(template: str) -> None:
    with pytest.raises(ValueError):
        filled(template, q="x")


def test_one_of_field_and_template() -> None:
    assert chosen_template(None, None, "text", "field").fields == ("text",)
    assert chosen_template("{odd}", None, "text", "field").fill(lambda name: name.upper()) == "{ODD}"
    with pytest.raises(ValueError, match="exclude each other"):
        chosen_template("a", "{a}", "text", "field")
    with pytest.raises(ValueError, match=r"names no column, as \{column\} in braces"):
        chosen_template(None, "a", "text", "column")
    with pytest.raises(ValueError, match="field or template is needed"):
        chosen_template(None, None, None, "field")
