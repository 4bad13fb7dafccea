"""Specs refuse what could not be listed or loaded, when they are made."""

from __future__ import annotations

import pytest

from cllm.errors import PluginError
from cllm.hooks import CheckSpec, Document
from cllm.hooks.specs import SPECS, Spec


@pytest.mark.parametrize("name", ["", "Tree", "a b", "robust.", ".x", "a..b", "ä", "3x", "tree\n"])
def test_a_name_is_small_letters_digits_and_dots_between(name: str) -> None:
    with pytest.raises(PluginError, match="name"):
        CheckSpec(name, "a check", "a.b:c")


@pytest.mark.parametrize("name", ["tree", "robust.trimmed_mean", "a-b", "x2", "a.2"])
def test_such_names_are_taken(name: str) -> None:
    assert CheckSpec(name, "a check", "a.b:c").name == name


@pytest.mark.parametrize("summary", ["", "  ", "two\nlines"])
def test_a_summary_is_one_line(summary: str) -> None:
    with pytest.raises(PluginError, match="one line"):
        CheckSpec("x", summary, "a.b:c")


@pytest.mark.parametrize("reference", ["a.b", "a.b:", ":c", "a b:c", "a.b:c.d"])
def test_a_reference_is_module_and_attribute(reference: str) -> None:
    with pytest.raises(PluginError, match=r"package\.module:attribute"):
        CheckSpec("x", "a check", reference)
    with pytest.raises(PluginError, match=r"package\.module:attribute"):
        CheckSpec("x", "a check", "a.b:c", reference)


def test_a_factory_can_be_called() -> None:
    with pytest.raises(PluginError, match="callable"):
        CheckSpec("x", "a check", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SPECS)
def test_specs_are_values_of_their_own_kind(kind: type[Spec]) -> None:
    assert kind("x", "it", "a.b:c") == kind("x", "it", "a.b:c")
    assert kind.kind
    assert [one.kind for one in SPECS].count(kind.kind) == 1
    assert type(kind("x", "it", "a.b:c")).__mro__[1] is Spec


def test_a_document_has_no_counts_unless_it_says_so() -> None:
    document = Document("text", "book.txt")
    assert (document.offset, document.continues, dict(document.counts)) == (0, False, {})
    with pytest.raises(TypeError):
        document.counts["segments"] = 1  # type: ignore[index]
