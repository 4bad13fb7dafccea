"""Parts made by name: options checked, defaults written out, failures with the plugin's name."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cllm.config import Part, difference, from_mapping, load_config, to_toml
from cllm.errors import ConfigError, PluginError
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from tests.hooks.conftest import Shelf
from tests.hooks.values import a_report

SOURCE = """
    from msgspec import Struct
    from cllm.errors import DataError
    from cllm.hooks import CheckSpec, DatasetSpec, OptimizerSpec, ReducerSpec, ScheduleSpec, SinkSpec, hookimpl

    class Options(Struct, kw_only=True):
        source: str
        decay_steps: int | None = None
        depth: float = 1
        pair: tuple[int, int] = (1, 2)

    class Anything:
        kind = "fold"
        def __init__(self, options=None):
            self.options = options
        merge = finish = documents = emit = close = __call__ = after_reduction = lambda self, *_: None

    def fails(options=None):
        raise RuntimeError("no luck today")

    def refuses(options=None):
        raise DataError("it", "a stone", "bread", "ask again")

    @hookimpl
    def cllm_register_datasets():
        yield DatasetSpec("things", "things", Anything, Options)

    class Heavy(Anything):
        bytes_per_parameter = -4
        learning_rate = init = step = state_dict = load_state_dict = None

    @hookimpl
    def cllm_register_optimizers():
        yield OptimizerSpec("things.heavy", "takes less than nothing", Heavy)

    @hookimpl
    def cllm_register_schedules():
        yield ScheduleSpec("things", "things", Anything, Options)

    @hookimpl
    def cllm_register_sinks():
        yield SinkSpec("plain", "without options", Anything)
        yield SinkSpec("broken", "takes no report", lambda: type("It", (), {"emit": fails, "close": fails})())

    @hookimpl
    def cllm_register_reducers():
        yield ReducerSpec("things.fold", "works", Anything)
        yield ReducerSpec("things.shapeless", "is a list", list)
        yield ReducerSpec("things.sideways", "of no kind", lambda: type("It", (), {"kind": "sideways"})())
        yield ReducerSpec("things.gather", "lacks combine", lambda: type("It", (), {"kind": "gather"})())
        yield ReducerSpec("things.failing", "raises", fails)
        yield ReducerSpec("things.refusing", "raises an error of ours", refuses)
        yield ReducerSpec("things.absent", "is not there", "things.nowhere:Class")
        yield ReducerSpec("things.missing", "is not in there", "cllm.errors:Missing")

    @hookimpl
    def cllm_register_stability_checks():
        yield CheckSpec("things.check", "lacks its config", Anything, "cllm.errors:Missing")
"""


@pytest.fixture
def plugins(shelf: Shelf) -> Plugins:
    shelf.install("things", SOURCE, distribution="cllm-things")
    return build_manager()


def test_a_part_is_made_with_its_options_as_the_plugins_struct(plugins: Plugins) -> None:
    made = plugins.make("dataset", Part("things", {"source": "a", "pair": [3, 4]}))
    assert (made.options.source, made.options.pair, made.options.depth) == ("a", (3, 4), 1.0)
    assert plugins.make("reducer", Part("things.fold")).options is None


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("reducer", Part("treee"), 'config: [reducer] name = "treee"; expected one of '),
        ("reducer", Part("treee"), 'did you mean "tree"?'),
        ("reducer", Part("robust.no_such"), "in a clone of cllm, pip install ./plugins/cllm-robust"),
        ("dataset", Part("sqad"), '[data] loader = "sqad"; expected one of csv, jsonl, markdown, pydoc, repo, squad'),
        ("dataset", Part("sqad"), 'did you mean "squad"?'),
        ("tokenizer", Part("bite"), '[data] tokenizer = "bite"'),
        ("model", Part("gpt3"), '[model] family = "gpt3"; expected one of gpt2'),
        ("check", Part("spyke"), '[checks.spyke] name = "spyke"'),
        ("dataset", Part("things", {"depht": 1}), "[data.options] has no 'depht'"),
        ("dataset", Part("things", {"source": 1}), '[data.options] source = 1; expected text; write "1", with quotes'),
        ("reducer", Part("tree", {"depth": 1}), "[reducer] depth; expected no options at all; remove depth"),
        ("dataset", Part("pydoc", {"source": "x"}), '[data.options] source = "x"; expected nothing'),
        ("check", Part("spike", {"window": 9, "warmup": 10}), "[checks.spike]: warmup = 10 is more than window = 9"),
    ],
)
def test_wrong_names_and_options_say_what_is_there(plugins: Plugins, kind: str, part: Part, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugins.make(kind, part)
    assert message in str(caught.value)


def test_the_label_of_a_check_is_in_its_errors(plugins: Plugins) -> None:
    with pytest.raises(ConfigError, match=r"\[checks\.tight\] has no 'max_nrom'"):
        plugins.make_checks({"tight": Part("clip", {"max_nrom": 1.0})})


def test_an_unknown_name_mentions_plugins_that_were_left_out_broken(shelf: Shelf) -> None:
    shelf.install("robust", "import no_such_module_anywhere", distribution="cllm-robust")
    with pytest.raises(ConfigError, match=r"robust\.no_such.*broken robust \(cllm-robust: ModuleNotFoundError"):
        build_manager().make("reducer", Part("robust.no_such"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("things.shapeless", "a list without kind"),
        ("things.sideways", 'kind = \'sideways\'; expected "fold" or "gather"'),
        ("things.gather", "a It without combine"),
        ("things.failing", "its factory raised RuntimeError: no luck today (things_of_cllm_things.py:"),
        ("things.absent", "things.nowhere:Class cannot be imported: ModuleNotFoundError"),
        ("things.missing", "cllm.errors:Missing cannot be imported: AttributeError"),
    ],
)
def test_a_part_that_fails_is_its_plugins_error(plugins: Plugins, name: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        plugins.make("reducer", Part(name))
    assert f"reducer {name} (cllm-things): {message}" in str(caught.value)


def test_bytes_that_no_memory_has_are_their_plugins_error(plugins: Plugins) -> None:
    with pytest.raises(PluginError, match=r"optimizer things\.heavy \(cllm-things\): bytes_per_parameter = -4"):
        plugins.make("optimizer", Part("things.heavy"))


def test_a_config_type_that_is_missing_is_its_plugins_error(plugins: Plugins) -> None:
    with pytest.raises(PluginError, match=r"check things\.check \(cllm-things\)"):
        plugins.make("check", Part("things.check"))


def test_an_error_of_ours_comes_through_as_it_is(plugins: Plugins) -> None:
    with pytest.raises(Exception, match="it: a stone; expected bread; ask again"):
        plugins.make("reducer", Part("things.refusing"))


def test_a_field_that_is_left_out_takes_the_hosts_offer(plugins: Plugins) -> None:
    part = Part("things", {"source": "mine"})
    assert plugins.make("dataset", part, source="theirs", unknown=3).options.source == "mine"
    assert plugins.make("dataset", Part("things"), source="theirs", unknown=3).options.source == "theirs"
    with pytest.raises(ConfigError, match="dataset things without source; expected text; add source"):
        plugins.make("dataset", Part("things"), source=None)
    assert plugins.make("sink", Part("plain"), folder="x", every=3).options is None


def test_a_factory_is_given_uncalled(plugins: Plugins) -> None:
    assert plugins.factory("tokenizer", "byte").__name__ == "ByteTokenizer"
    assert plugins.factory("model", "gpt2").__name__ == "build"


def test_finite_is_among_the_checks_of_every_config() -> None:
    plugins = build_manager()
    assert list(plugins.make_checks({})) == ["finite"]
    assert list(plugins.make_checks({"b": Part("clip"), "a": Part("clip")})) == ["finite", "b", "a"]


BASE = ["data.path=book.txt"]


def test_a_completed_config_says_every_default() -> None:
    plugins = build_manager()
    config = load_config(overrides=[*BASE, "checks.clip.max_norm=2", "optimizer.betas=[0, 0.5]"])
    completed = plugins.complete(config, 77)
    assert completed.schedule.options["decay_steps"] == 77
    assert completed.optimizer.options["betas"] == [0.0, 0.5]
    assert completed.optimizer.options.keys() >= {"learning_rate", "weight_decay"}
    assert completed.checks["clip"] == Part("clip", {"max_norm": 2.0})
    assert None not in completed.checks["spike"].options.values()
    assert plugins.complete(completed, 999) == completed
    assert from_mapping(tomllib.loads(to_toml(completed))) == completed


def test_a_completed_config_that_resumes_for_longer_keeps_its_schedule() -> None:
    plugins = build_manager()
    first = plugins.complete(load_config(overrides=BASE), 1000)
    longer = load_config(overrides=["train.steps=5000"], base=tomllib.loads(to_toml(first)))
    assert difference(first, plugins.complete(longer, 5000)) == []


def test_before_the_steps_are_known_the_schedule_stays_open() -> None:
    completed = build_manager().complete(load_config(overrides=[*BASE, "train.epochs=2"]))
    assert "decay_steps" not in completed.schedule.options


def test_a_loaders_options_are_completed_without_the_source(plugins: Plugins) -> None:
    config = load_config(overrides=["data.loader=things", "data.source=here", "data.options.depth=3"])
    assert plugins.complete(config).data.options == {"depth": 3.0, "pair": [1, 2]}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rat=1", "[optimizer] has no 'learning_rat'"),
        ("schedule.name=cosin", '[schedule] name = "cosin"'),
        ("reducer.name=treee", '[reducer] name = "treee"'),
        ("checks.spike.treshold=3", "[checks.spike] has no 'treshold'"),
        ("checks.mine.name=spyke", '[checks.mine] name = "spyke"'),
        ("sinks.console.evry=3", "[sinks.console] has no 'evry'"),
        ("model.family=gtp2", '[model] family = "gtp2"'),
        ("data.tokenizer=chars", '[data] tokenizer = "chars"'),
        ("data.loader=squad", "dataset squad without source"),
    ],
)
def test_completing_finds_what_is_wrong_before_anything_is_made(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_manager().complete(load_config(overrides=[override], base={"data": {"path": "book.txt"}}))
    assert message in str(caught.value)


def test_sinks_get_the_run_folder_and_the_cadence(tmp_path: Path) -> None:
    sinks = build_manager().make_sinks({"a": Part("console"), "b": Part("jsonl")}, tmp_path, 7)
    sinks.close()
    assert (tmp_path / "metrics.jsonl").exists()


def test_a_sink_that_fails_is_named_with_its_plugin(
    plugins: Plugins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins.make_sinks({"mine": Part("broken")}, tmp_path, 1).emit(a_report())
    assert "warning: sink mine (broken of cllm-things) failed" in capsys.readouterr().err


def test_events_reach_plugins_that_want_them_until_they_fail(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    path = shelf.module(
        "listener",
        """
        from cllm.hooks import hookimpl
        heard = []

        @hookimpl
        def cllm_checkpoint(path):
            heard.append(path)

        @hookimpl
        def cllm_step_end():
            heard.append("step")
            if len(heard) > 2:
                raise RuntimeError("enough")
        """,
    )
    plugins = build_manager([str(path)])
    heard = _heard("cllm_plugin_listener")
    plugins.fire("cllm_checkpoint", path="one")
    plugins.fire("cllm_step_end", report=None)
    assert heard == ["one", "step"]
    plugins.fire("cllm_step_end", report=None)
    warning = capsys.readouterr().err
    assert "warning: cllm_step_end of plugin listener failed" in warning
    assert "RuntimeError: enough (listener.py:" in warning
    plugins.fire("cllm_checkpoint", path="two")
    assert heard == ["one", "step", "step"]
    assert capsys.readouterr().err == ""


def _heard(module: str) -> Any:
    return vars(sys.modules[module])["heard"]
