"""What is wrong with a config is said with the place, the value, what is expected and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from cllm.config import load_config, to_struct
from cllm.config.convert import expected
from cllm.errors import ConfigError

DATA = "data.path=book.txt"


@pytest.mark.parametrize(
    ("override", "came", "wanted", "todo"),
    [
        ("trian.steps=3", "no 'trian'", "one of", 'did you mean "train"?'),
        ("train.stepz=3", "[train] has no 'stepz'", "steps", 'did you mean "steps"?'),
        ("train.steps=0", "[train] steps = 0", "a whole number, 1 or more", "another value"),
        ("train.steps=true", "[train] steps = true", "a whole number", "another value"),
        ("train.steps=twelve", '[train] steps = "twelve"', "a whole number", "without quotes"),
        ("train.steps=1e3", "[train] steps = 1000.0", "a whole number", "write 1000"),
        ("train.steps.x=3", "[train] steps = {'x': 3}", "a whole number", ""),
        ("train=5", "train = 5", "a table", "[train]"),
        ("train.seed=4294967296", "seed = 4294967296", "below 2^32", "use a smaller one"),
        (
            "train.micro_batch_size=13",
            "micro_batch_size = 13 is more than batch_size = 12",
            "at most",
            "use 12 or fewer",
        ),
        ("model.n_embd=130", "n_embd = 130 is not divisible by n_head = 4", "a multiple of n_head", "use 128 or 132"),
        ("model.n_embd=3", "n_embd = 3 is not divisible by n_head = 4", "a multiple of n_head", "use 4"),
        ("model.preset=tinny", 'preset = "tinny"', "tiny, mini", 'did you mean "tiny"?'),
        ("model.preset=3", "preset = 3", "tiny, mini", ""),
        ("model.dropout=1.0", "[model] dropout = 1.0", "at least 0 and below 1", ""),
        ("model.activation=gelu_tan", 'activation = "gelu_tan"', "gelu_tanh, gelu", 'did you mean "gelu_tanh"?'),
        ("model.dtype=float31", 'dtype = "float31"', "float32", 'did you mean "float32"?'),
        ("data.path=17", "[data] path = 17", "text", 'write "17", with quotes'),
        ("data.source=a.txt", "[data] has source but no loader", "a loader", "add loader"),
        ("data.mixture=[]", "mixture = []", "at least one source", "[[data.mixture]]"),
        ("data.mixture=[{path='a'},{path='b',wieght=2}]", "[data] mixture[1] has no 'wieght'", "", '"weight"?'),
        ("data.mixture=[{path='a',weight=0}]", "mixture[0] weight = 0", "a number above 0", ""),
        ("data.mixture=[{weight=1}]", "mixture[0] without path", "text", "add path"),
        ("data.mixture=['a']", 'mixture[0] = "a"', "a table of path, weight", "without quotes"),
        ("data.source=['a', 3]", "[data] source[1] = 3", "text", 'write "3", with quotes'),
        ("name=../x", 'name = "../x"', "letters, digits", ""),
        ("name='x\\n'", "name = ", "letters, digits", ""),
        ("optimizer=3", "optimizer = 3", "a table", "[optimizer]"),
        ("optimizer.name=3", "[optimizer] name = 3", "a name", "cllm plugins list"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate = nan", "a finite number", ""),
        ("optimizer.betas=[0.9, inf]", "optimizer.betas = inf", "a finite number", ""),
        ("checks.spkie=false", "[checks] spkie = false", "clip or spike", 'did you mean "spike"?'),
        ("checks.spike=3", "[checks] spike = 3", "a table, true or false", "[checks.spike]"),
        ("checks.finite=false", "[checks] has finite = false", "always on", "remove it"),
        ("checks.finite.name=clip", "[checks] has finite, the check clip", "always on", "remove it"),
        ("checks.mine.name=finite", "[checks] has mine, the check finite", "always on", "remove it"),
        ("dist.communicator=3", "[dist] communicator = 3", "text", "with quotes"),
        ("checkpoint.keep=0", "[checkpoint] keep = 0", "1 or more", ""),
        ("data.path=a\udcff", "data.path", "UTF-8", ""),
    ],
)
def test_an_error_names_place_value_expectation_and_remedy(override: str, came: str, wanted: str, todo: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override], base={"data": {"path": "book.txt"}})
    assert came in caught.value.came
    assert wanted in caught.value.expected
    assert todo in caught.value.todo
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("values", "came"),
    [
        ({}, "does not say where the text is"),
        ({"data": {"path": "a", "loader": "text"}}, "path and loader"),
        ({"data": {"path": "a"}, "train": {"steps": 3, "epochs": 1}}, "steps = 3 and epochs = 1.0"),
        ({"data": {"path": "a"}, "checks": {"": True}}, r'\[checks\.\] name = ""'),
    ],
)
def test_values_that_make_no_run_together(values: dict[str, Any], came: str) -> None:
    with pytest.raises(ConfigError, match=came):
        load_config(base=values)


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (b"[train\nsteps = 3", "line 1"),
        (b"steps = three", "line 1"),
        (b"name = '\xff'", "utf-8"),
        (b"a = " + b"[" * 100_000, "run.toml"),
    ],
    ids=["table", "value", "encoding", "nesting"],
)
def test_a_file_that_is_no_toml(content: bytes, came: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=came) as caught:
        load_config(path)
    assert str(path) in caught.value.came


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options as a plugin might have them, with no words of ours about their kinds."""

    size: Annotated[int, msgspec.Meta(ge=2, lt=9)]
    pair: tuple[float, float] = (1.0, 2.0)
    many: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] = ()
    flag: bool = False
    low: float = 0.0

    def __post_init__(self) -> None:
        if self.low > self.size:
            raise ValueError("low is above size")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "[it] without size; expected a whole number, at least 2, below 9; add size"),
        ({"size": 1}, "[it] size = 1; expected a whole number, at least 2, below 9; choose another value"),
        ({"size": 3, "pair": [1.0]}, "[it] pair = [1.0]; expected a list of 2: a number, a number; "),
        ({"size": 3, "pair": [1.0, "x"]}, '[it] pair[1] = "x"; expected a number; write it without'),
        ({"size": 3, "many": [1, 0]}, "[it] many[1] = 0; expected a whole number, at least 1; choose another value"),
        ({"size": 3, "flag": "yes"}, '[it] flag = "yes"; expected true or false; write it without quotes'),
        ({"size": 3, "low": 4.0}, "[it]: low is above size; expected values that fit together"),
    ],
)
def test_options_of_a_plugin_are_checked_likewise(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        to_struct(Options, table, "[it]")
    assert f"config: {message}" in str(caught.value)


def test_a_type_in_words() -> None:
    assert expected(str | list[str] | None) == "text or a list, each text"
    assert expected(None) == "nothing"
    assert expected(dict[str, int]) == "a table"
    assert expected(tuple[int, ...]) == "a list, each a whole number"
