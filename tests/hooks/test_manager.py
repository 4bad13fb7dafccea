"""Gathering plugins: found where they are installed or named, and the broken ones kept out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cllm import __version__, ledger
from cllm.cli import main
from cllm.errors import ConfigError, PluginError, UsageError
from cllm.hooks import found
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import PluginRow, Plugins
from tests.hooks.conftest import Shelf

GOOD = """
from cllm.hooks import ReducerSpec, hookimpl

@hookimpl
def cllm_register_reducers():
    yield ReducerSpec("{name}", "a reducer", "no.such.module:Class")
"""

BROKEN = {
    "does not import": "import no_such_module_anywhere",
    "is no Python": "def (",
    "exits": "raise SystemExit(3)",
    "raises when asked": """
        from cllm.hooks import hookimpl

        @hookimpl
        def cllm_register_reducers():
            yield from ()
            raise RuntimeError("out of order")
        """,
    "yields another kind": """
        from cllm.hooks import CheckSpec, hookimpl

        @hookimpl
        def cllm_register_reducers():
            yield CheckSpec("x", "a check", "a.b:c")
        """,
    "yields a bad spec": """
        from cllm.hooks import ReducerSpec, hookimpl

        @hookimpl
        def cllm_register_reducers():
            yield ReducerSpec("Bad Name", "a reducer", "a.b:c")
        """,
    "has an unknown hook": """
        from cllm.hooks import hookimpl

        @hookimpl
        def cllm_register_reducer():
            return []
        """,
    "wants an unknown argument": """
        from cllm.hooks import hookimpl

        @hookimpl
        def cllm_step_end(reports):
            pass
        """,
    "is a wrapper": """
        from cllm.hooks import hookimpl

        @hookimpl(wrapper=True)
        def cllm_step_end(report):
            yield
        """,
    "has no hook": "x = 3",
    "forgot to mark its hook": """
        def cllm_register_reducers():
            return []
        """,
}


def row(plugins: Plugins, name: str) -> PluginRow:
    return next(row for row in plugins.list() if row.name == name)


def test_cllm_itself_is_a_plugin_that_provides_its_parts() -> None:
    builtin = build_manager().list()[0]
    assert (builtin.name, builtin.distribution, builtin.state) == ("builtin", "cllm", "active")
    assert "reducer tree" in builtin.provides


def test_an_installed_plugin_is_found_with_its_distribution(shelf: Shelf) -> None:
    shelf.install("median", GOOD.format(name="mine.median"), distribution="cllm-median", version="2.5")
    plugins = build_manager()
    found = row(plugins, "median")
    assert (found.distribution, found.version, found.state) == ("cllm-median", "2.5", "active")
    assert found.provides == ("reducer mine.median",)
    assert "mine.median" in plugins.names("reducer")
    assert {"name": "median", "distribution": "cllm-median", "version": "2.5"} in plugins.record()


def test_installed_plugins_come_by_name_wherever_they_are(shelf: Shelf) -> None:
    for name in ("zeta", "alpha", "mu"):
        shelf.install(name, GOOD.format(name=name))
    assert [row.name for row in build_manager().list()] == ["builtin", "alpha", "mu", "zeta"]


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_shown_and_left_out(source: str, shelf: Shelf) -> None:
    shelf.install("faulty", source, distribution="cllm-faulty")
    plugins = build_manager()
    faulty = row(plugins, "faulty")
    assert (faulty.state, faulty.distribution, faulty.provides) == ("broken", "cllm-faulty", ())
    assert faulty.problem
    assert "\n" not in faulty.problem
    assert "tree" in plugins.names("reducer")
    assert "faulty" not in [entry["name"] for entry in plugins.record()]
    plugins.fire("cllm_step_end", report=None)


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_an_error_when_strict_or_named(source: str, shelf: Shelf) -> None:
    shelf.install("faulty", source, distribution="cllm-faulty")
    for arguments, strict in (([], True), (["faulty"], False)):
        with pytest.raises(PluginError, match=r"plugin faulty \(cllm-faulty\)"):
            build_manager(arguments, strict=strict)
    path = shelf.module("one_file", source)
    with pytest.raises(PluginError, match="one_file"):
        build_manager([str(path)])


def test_the_problem_says_where_it_is(shelf: Shelf) -> None:
    path = shelf.module("late", "x = 1\ny = 1 / 0\n")
    with pytest.raises(PluginError, match=r"ZeroDivisionError: division by zero \(late\.py:2\)"):
        build_manager([str(path)])


def test_an_unmarked_hook_is_explained(shelf: Shelf) -> None:
    path = shelf.module("unmarked", BROKEN["forgot to mark its hook"])
    with pytest.raises(PluginError, match="mark cllm_register_reducers with @hookimpl"):
        build_manager([str(path)])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("has an unknown hook", 'no hook is called cllm_register_reducer; .* did you mean "cllm_register_reducers"?'),
        ("is a wrapper", "cllm_step_end is a wrapper; expected a plain function; leave out wrapper=True"),
        ("yields a bad spec", "ReducerSpec 'Bad Name': name 'Bad Name'; expected small letters"),
        ("yields another kind", r"cllm_register_reducers yields CheckSpec\(name='x'"),
    ],
)
def test_what_cllm_refuses_of_a_plugin_is_said_once_under_its_name(what: str, message: str, shelf: Shelf) -> None:
    path = shelf.module("faulty", BROKEN[what])
    with pytest.raises(PluginError) as caught:
        build_manager([str(path)])
    assert re.match(re.escape(f"plugin faulty ({path}): ") + message, str(caught.value))
    assert str(caught.value).count("; expected ") == 1
    shelf.install("faulty", BROKEN[what])
    assert re.match(message, row(build_manager(), "faulty").problem or "")


def test_no_leaves_a_plugin_out_without_importing_it(shelf: Shelf) -> None:
    shelf.install("faulty", "raise SystemExit(3)")
    plugins = build_manager(["no:faulty"], strict=True)
    assert row(plugins, "faulty").state == "left out"
    assert "faulty" not in [entry["name"] for entry in plugins.record()]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("no:stirdy", 'did you mean "sturdy"?'),
        ("no:", "expected one of sturdy"),
        ("stirdy", "there is no plugin 'stirdy'; expected a file.py, a module, or no:NAME; did you mean \"sturdy\"?"),
        ("no_such_module", "there is no plugin 'no_such_module'; .* see `cllm plugins list`"),
        ("no_such_package.module", "there is no plugin 'no_such_package.module'"),
        ("json.nothing", "there is no plugin 'json.nothing'"),
        ("beside", 'did you mean "./beside.py"?'),
        ("./besides.py", 'did you mean "beside.py"?'),
        ("no:builtin", "cllm can do without"),
        ("./absent.py", "No such file"),
        ("a-b", "expected a file.py, a module, or no:NAME"),
        ("", "expected a file.py"),
    ],
)
def test_a_p_that_makes_no_sense(
    argument: str, message: str, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("beside.py").touch()
    shelf.install("sturdy", GOOD.format(name="sturdy.x"))
    with pytest.raises(UsageError) as caught:
        build_manager([argument])
    assert re.search(message, str(caught.value))


def test_without_other_plugins_none_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "installed", lambda: iter(()))
    with pytest.raises(UsageError, match=r"no:foo; expected a plugin that is there; none is but cllm's own; see `cllm"):
        build_manager(["no:foo"])


def test_a_module_that_misses_another_is_a_broken_plugin(shelf: Shelf) -> None:
    shelf.module("incomplete", "import no_such_module_anywhere")
    with pytest.raises(PluginError, match=r"plugin incomplete \(module incomplete\): ModuleNotFoundError: No module"):
        build_manager(["incomplete"])


def test_p_takes_a_file(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "my_check.py"
    path.write_text(GOOD.format(name="mine"), encoding="utf-8")
    plugins = build_manager([str(path), str(path)])
    mine = row(plugins, "my_check")
    assert (mine.distribution, mine.location, mine.state) == (str(path), str(path), "active")
    before = mine.version
    path.write_text(GOOD.format(name="mine") + "# changed\n", encoding="utf-8")
    assert row(build_manager([str(path)]), "my_check").version != before
    assert row(build_manager([str(path), "no:my_check"]), "my_check").state == "left out"


def test_a_file_may_have_structs_whose_annotations_are_text(shelf: Shelf) -> None:
    source = """
    from __future__ import annotations
    from typing import Annotated
    from msgspec import Meta, Struct
    from cllm.hooks import CheckSpec, Ok, hookimpl

    Small = Annotated[int, Meta(le=9)]

    class Options(Struct):
        size: Small = 3

    class Check:
        def __init__(self, options):
            self.size = options.size
        def after_reduction(self, view):
            return Ok()

    @hookimpl
    def cllm_register_stability_checks():
        yield CheckSpec("small", "a check", Check, Options)
    """
    from cllm.config import Part

    plugins = build_manager([str(shelf.module("lazy_types", source))])
    assert plugins.make("check", Part("small", {"size": 5})).size == 5


def test_p_takes_a_module(shelf: Shelf) -> None:
    shelf.module("some_module", GOOD.format(name="some"))
    plugins = build_manager(["some_module"])
    assert row(plugins, "some_module").state == "active"
    assert "some" in plugins.names("reducer")


def test_p_of_what_is_installed_adds_nothing(shelf: Shelf) -> None:
    shelf.install("twice", GOOD.format(name="twice"), distribution="cllm-twice")
    for argument in ("twice", "twice_of_cllm_twice"):
        rows = [row for row in build_manager([argument]).list() if row.name.startswith("twice")]
        assert [row.name for row in rows] == ["twice"]


def test_two_plugins_of_one_name_are_an_error_that_names_both(shelf: Shelf) -> None:
    shelf.install("same", GOOD.format(name="a"), distribution="first-one")
    shelf.install("same", GOOD.format(name="b"), distribution="second-one")
    with pytest.raises(PluginError, match="plugin same: two of this name, from first-one and from second-one"):
        build_manager()
    assert not {"a", "b"} & set(build_manager(["no:same"]).names("reducer"))


def test_two_parts_of_one_name_are_an_error_that_names_both(shelf: Shelf) -> None:
    shelf.install("one", GOOD.format(name="shared"), distribution="first-one")
    shelf.install("two", GOOD.format(name="shared"), distribution="second-one")
    with pytest.raises(PluginError, match="reducer shared: two of this name, from first-one and from second-one"):
        build_manager()
    assert "shared" in build_manager(["no:two"]).names("reducer")


def test_a_built_in_name_cannot_be_taken_over(shelf: Shelf) -> None:
    shelf.install("sly", GOOD.format(name="tree"), distribution="cllm-sly")
    with pytest.raises(PluginError, match=r"reducer tree: two of this name, from cllm and from cllm-sly; .*no:sly"):
        build_manager()


def test_managers_do_not_share_anything(shelf: Shelf) -> None:
    path = shelf.module("alone", GOOD.format(name="alone"))
    assert "alone" in build_manager([str(path)]).names("reducer")
    assert "alone" not in build_manager().names("reducer")


def test_trace_prints_each_call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    build_manager()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("CLLM_TRACE_PLUGINS", "1")
    build_manager()
    assert re.search(
        r"^cllm: trace: cllm_register_reducers of plugin builtin \d+\.\d\d ms$", capsys.readouterr().err, re.MULTILINE
    )


WRITES = """
from pathlib import Path
Path({path!r}).write_text("it ran")
"""


def writing(shelf: Shelf, tmp_path: Path, name: str = "mine", distribution: str = "some-package") -> Path:
    """An installed plugin that writes a file where it is imported."""
    trace = tmp_path / f"{name}.trace"
    shelf.install(name, WRITES.format(path=str(trace)) + GOOD.format(name=f"{name}.x"), distribution=distribution)
    return trace


@pytest.mark.parametrize(
    ("options", "runs", "problem"),
    [
        ({}, True, None),
        ({"installed": False}, False, "--no-plugins"),
        ({"installed": False, "plugins": ["mine"]}, True, None),
        ({"allow": []}, False, "[plugins] allow does not name its package"),
        ({"allow": ["another"]}, False, "[plugins] allow does not name its package"),
        ({"allow": ["Some_Package"]}, True, None),
        ({"allow": ["some-package"], "installed": False}, False, "--no-plugins"),
        ({"plugins": ["no:mine"]}, False, None),
    ],
)
def test_code_that_is_not_let_in_does_not_run(
    options: dict[str, Any], runs: bool, problem: str | None, shelf: Shelf, tmp_path: Path
) -> None:
    trace = writing(shelf, tmp_path)
    plugins = build_manager(**options)
    assert trace.exists() == runs
    mine = row(plugins, "mine")
    assert (mine.state, mine.problem) == ("active" if runs else "left out", problem)
    assert ("mine.x" in plugins.names("reducer")) == runs
    assert ("mine" in plugins.versions()) == runs


def test_what_is_demanded_and_not_allowed_is_an_error(shelf: Shelf, tmp_path: Path) -> None:
    trace = writing(shelf, tmp_path)
    with pytest.raises(UsageError, match=r"-p: mine of some-package; expected a plugin of another; add it to \[plug"):
        build_manager(["mine"], allow=["another"])
    plugins = build_manager(allow=[])
    with pytest.raises(ConfigError, match=r"mine\.x.*left out mine \(some-package: \[plugins\] allow does not name"):
        plugins.find("reducer", "mine.x")
    assert not trace.exists()


def test_a_file_that_is_named_needs_no_leave(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(GOOD.format(name="own.x"))
    plugins = build_manager([str(tmp_path / "own.py")], installed=False, allow=[])
    assert "own.x" in plugins.names("reducer")


@pytest.mark.parametrize("how", ["option", "config", "run"])
def test_commands_let_in_what_they_are_told(how: str, shelf: Shelf, tmp_path: Path) -> None:
    """Of a run, what its config allows: an evaluation loads no more than the training did."""
    trace = writing(shelf, tmp_path)
    book = tmp_path / "book.txt"
    book.write_text("The same again and again. " * 200)
    config = tmp_path / "run.toml"
    allow = "" if how == "option" else "[plugins]\nallow = []\n"
    config.write_text(f'{allow}[model]\npreset = "tiny"\nblock_size = 8\n[data]\npath = "{book}"\n[train]\nsteps = 2\n'
                      "[schedule]\nwarmup_steps = 0\n")
    extra = ["--no-plugins"] if how == "option" else []
    assert main(["train", str(config), "--out", str(tmp_path / "run"), *extra]) == 0
    assert not trace.exists()
    if how == "run":
        assert main(["eval", str(tmp_path / "run")]) == 0
        assert main(["generate", str(tmp_path / "run"), "The", "--tokens", "2"]) == 0
        assert not trace.exists()
        assert main(["eval", str(tmp_path / "run"), "-p", "mine"]) == 2
    start = ledger.read(tmp_path / "run/ledger.jsonl")[0]
    assert (start.event, start.more) == ("start", {"plugins": {"builtin": __version__}})
