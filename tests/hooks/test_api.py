"""Versions of the hooks: what a plugin may say, what version 1 promises, and what is said of what will be gone."""

from __future__ import annotations

import inspect
import types

import pytest

from cllm.errors import PluginError
from cllm.hooks import api, hookspecs
from cllm.hooks.api import Outdated, check_api
from cllm.hooks.manager import build_manager
from tests.hooks.conftest import Shelf

# The hooks of version 1 with their parameters: none may be gone, nor a parameter, as long as the version begins with 1.
VERSION_1: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((
        "cllm_register_datasets", "cllm_register_tokenizers", "cllm_register_models", "cllm_register_initializers",
        "cllm_register_reducers", "cllm_register_stability_checks", "cllm_register_optimizers",
        "cllm_register_schedules", "cllm_register_sinks",
    ), ()),
    "cllm_run_start": ("run",), "cllm_step_end": ("report",), "cllm_instability": ("report",),
    "cllm_evaluation": ("report",), "cllm_checkpoint": ("path",), "cllm_run_end": ("run",),
}


@pytest.mark.parametrize("name", VERSION_1)
def test_what_version_1_has_is_there(name: str) -> None:
    assert api.VERSION[0] == 1, "then the table is to begin anew"
    parameters = tuple(inspect.signature(getattr(hookspecs, name)).parameters)
    assert set(VERSION_1[name]) <= set(parameters)


@pytest.mark.parametrize(
    "wanted", [None, ">=1,<2", ">=1", "==1.0", "<=1.0", "!=0.9", " >= 1 , < 2 ", ">0.9", "<1.1", ">=1.0,<2,!=1.1"]
)
def test_what_goes_together(wanted: object) -> None:
    check_api(types.SimpleNamespace(cllm_api=wanted), "it")


def test_who_says_nothing_is_taken() -> None:
    check_api(object(), "it")


@pytest.mark.parametrize("wanted", [">=2", "<1", ">1", "==1.1", "!=1", ">=1.1,<2", "<2,>=1.1", "==0.1,>=1"])
def test_what_does_not_go_together(wanted: str) -> None:
    with pytest.raises(Outdated, match=r"this cllm has 1\.0"):
        check_api(types.SimpleNamespace(cllm_api=wanted), "it")


@pytest.mark.parametrize("wanted", ["", "1", "~=1", ">=1;<2", ">=a", ">=1.0.0", ">=-1", ">=1,", 1, ("1",), b">=1"])
def test_what_is_no_version(wanted: object) -> None:
    with pytest.raises(PluginError, match="expected comparisons with versions") as caught:
        check_api(types.SimpleNamespace(cllm_api=wanted), "it")
    assert not isinstance(caught.value, Outdated)


def later() -> types.ModuleType:
    """The hooks as they might be some day: one has a new parameter, an old one that will be gone, another is old."""
    made = types.ModuleType("later")
    vars(made).update({name: value for name, value in vars(hookspecs).items() if not name.startswith("__")})
    gone = "report will be gone with version 2 of the hooks; use step"

    @hookspecs.hookspec(warn_on_impl_args={"report": DeprecationWarning(gone)})
    def cllm_step_end(report: object, step: object) -> None: ...

    @hookspecs.hookspec(warn_on_impl=DeprecationWarning("cllm_evaluation will be gone with version 2 of the hooks"))
    def cllm_evaluation(report: object) -> None: ...

    vars(made).update(cllm_step_end=cllm_step_end, cllm_evaluation=cllm_evaluation)
    return made


HEARS = """
from cllm.hooks import hookimpl

@hookimpl
def {name}({parameters}):
    print({parameters})
"""


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("cllm_step_end", "report", ["report will be gone with version 2 of the hooks; use step"]),
        ("cllm_evaluation", "", ["cllm_evaluation will be gone with version 2 of the hooks"]),
        ("cllm_step_end", "step", []),
        ("cllm_step_end", "", []),
    ],
)
def test_what_will_be_gone_is_told(
    name: str, parameters: str, said: list[str], shelf: Shelf, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cllm.hooks.manager.hookspecs", later())
    shelf.install("old", HEARS.format(name=name, parameters=parameters))
    if said:
        with pytest.warns(DeprecationWarning, match="will be gone with version 2"):
            plugins = build_manager()
    else:
        plugins = build_manager()
    row = next(row for row in plugins.list() if row.name == "old")
    assert row.state == "active" and list(row.warnings) == said


def test_an_old_parameter_and_a_new_one_both_come(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cllm.hooks.manager.hookspecs", later())
    shelf.install("old", HEARS.format(name="cllm_step_end", parameters="report"))
    shelf.install("new", HEARS.format(name="cllm_step_end", parameters="step"))
    with pytest.warns(DeprecationWarning):
        build_manager().fire("cllm_step_end", report="the old", step="the new")
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "the new", "the old"]
