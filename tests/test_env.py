"""The developers' switches: what they take, what they refuse, and that nobody else reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import cllm.env
from cllm import env
from cllm.errors import UsageError

READERS: list[tuple[str, Callable[[], object], object, list[tuple[str, object]], list[str]]] = [
    (
        "CLLM_DEBUG",
        env.debug,
        0,
        [("0", 0), ("3", 3), (" 2 ", 2), ("", 0)],
        ["4", "-1", "yes", "1.0", "1_0", "٣"],
    ),
    (
        "CLLM_FAULT",
        env.fault,
        None,
        [
            (
                "op=attention_backward,layer=3,shard=5,step=17,value=-inf,element=4,tensor=x.y",
                env.Fault("attention", True, 3, 5, 17, "x.y", 4, float("-inf")),
            ),
            ("op=a.b_c_forward,shard=0,step=0,value=huge", env.Fault("a.b_c", False, None, 0, 0, None, 0, 3e38)),
            ("", None),
        ],
        [
            "attention", "op=attention,shard=1,step=1", "op=attention_backward,shard=1", "op=_forward,shard=1,step=1",
            "op=add_forward,shard=-1,step=1", "op=add_forward,shard=1,step=1,value=7",
            "op=add_forward,shard=1,step=1,colour=3",
        ],
    ),
    ("CLLM_ISA", env.isa, None, [("portable", "portable"), ("v4", "v4"), ("", None)], ["avx2", "V3", "v5"]),
    ("CLLM_THREADS", env.threads, None, [("1", 1), ("64", 64), ("", None)], ["0", "-2", "two", "+1", "1025"]),
    ("CLLM_TRACE_PLUGINS", env.trace_plugins, False, [("1", True), ("0", False), ("", False)], ["2", "on"]),
]


@pytest.mark.parametrize(("name", "read", "default", "good", "bad"), READERS, ids=[row[0] for row in READERS])
def test_a_switch_reads_its_values_and_refuses_others_by_name(
    name: str,
    read: Callable[[], object],
    default: object,
    good: list[tuple[str, object]],
    bad: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(name, raising=False)
    assert read() == default
    for text, value in good:
        monkeypatch.setenv(name, text)
        assert read() == value
    for text in bad:
        monkeypatch.setenv(name, text)
        with pytest.raises(UsageError, match=re.escape(f"{name} = {text!r}")):
            read()


def test_the_table_lists_each_switch_once() -> None:
    assert [variable.name for variable in env.VARIABLES] == [row[0] for row in READERS]
    assert all(variable.summary and variable.values for variable in env.VARIABLES)


def test_no_other_module_reads_a_switch_from_the_environment() -> None:
    package = Path(cllm.env.__file__).parent
    reads = re.compile(r"(environ|getenv)[^\n]*CLLM_")
    readers = [file.name for file in package.rglob("*.py") if reads.search(file.read_text(encoding="utf-8"))]
    assert readers == []
    assert "os.environ" in (package / "env.py").read_text(encoding="utf-8")
