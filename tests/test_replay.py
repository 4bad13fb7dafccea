"""`cllm replay`: exit codes, what it says, its page; and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm import receipt
from cllm.cli import OTHER_BITS, main
from cllm.engine import Engine
from cllm.errors import CheckpointError, DataError, IncidentError, InstabilityAbort
from cllm.hooks.manager import build_manager
from cllm.incidentreport import page
from cllm.replay import replay
from tests.runs import TEXT, config, train


@pytest.fixture
def incident(tmp_path: Path) -> Path:
    """The receipt of a run that was stopped by a NaN."""
    with pytest.raises(InstabilityAbort):
        train(config(tmp_path, "train.inject_nan=7", "train.threads=2"), tmp_path / "run")
    (path,) = (tmp_path / "run" / "incidents").glob("step-*.json")
    return path


def rewrite(path: Path, **changes: Any) -> None:
    """Another receipt in place of this one, with a seal of its own."""
    content = {name: value for name, value in receipt.read(path).items() if name != "format"} | changes
    path.unlink()
    receipt.write(path.parent, content["step"], content["batch_index"], content)


def test_the_same_bits_are_told_with_the_place(incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(incident)]) == 0
    told = capsys.readouterr().out
    assert "update 7, batch 6: " in told and "finite: gradient norm is nan" in told
    assert "first non-finite: fault backward, shard 2, sample 32, token 8" in told
    assert "transformer.ln_f.y[8, 0] = nan" in told and "gradient of the output fault.y: up to " in told
    assert told.endswith("the same bits on 2 threads and op by op: data or numerics\n")


def test_other_bits_have_an_exit_code_of_their_own(incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = receipt.read(incident)["seen"]
    losses = [float.fromhex(text) for text in seen["shard_losses"]]
    changed = [losses[0].hex(), float(np.nextafter(losses[1], 9.0)).hex(), *(loss.hex() for loss in losses[2:])]
    rewrite(incident, seen={**seen, "shard_losses": changed})
    assert main(["replay", str(incident), "--threads", "1"]) == OTHER_BITS
    told = capsys.readouterr().out
    assert "other bits than the run saw, on 1 thread or op by op: a race, memory or hardware" in told
    assert "what differs: loss of shard 1 by the engine, loss of shard 1 op by op" in told


def test_a_wrong_engine_is_told_from_the_step_op_by_op(
    incident: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gradient = Engine.gradient

    def raced(self: Engine, *arguments: Any) -> Any:
        found = gradient(self, *arguments)
        found.gradient[np.flatnonzero(np.isfinite(found.gradient))[0]] += np.float32(1e-3)
        return found

    monkeypatch.setattr(Engine, "gradient", raced)
    assert main(["replay", str(incident), "--json"]) == OTHER_BITS
    told = json.loads(capsys.readouterr().out)
    assert (told["differs_in"], told["same_bits"]) == (["gradient by the engine"], False)


def test_a_place_that_has_moved_is_other_bits(incident: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = receipt.read(incident)["first"]
    rewrite(incident, first={**first, "index": [9, 0]})
    assert main(["replay", str(incident)]) == OTHER_BITS
    assert "what differs: the first value that is not finite" in capsys.readouterr().out


# --- the page ---------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else_and_shows_place_growth_and_config(incident: Path, tmp_path: Path) -> None:
    assert main(["replay", str(incident), "--html", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"<(script|link|img|iframe)|https?://(?!www\.w3\.org/2000/svg)|url\(|@import", text)
    assert text.count("<svg ") == 1 and "fault (fault), backward" in text and "inject_nan" in text
    content = receipt.read(incident)
    place = content["first"]["place"]
    assert f"{place['before']}<mark>{place['text']}</mark>{place['after']}" in text.replace("\\n", "\n")
    marks, written = re.findall(r'fill="(#\w+)"><title>', text), content["growth"]["written"]
    assert [mark == "#c2271a" for mark in marks] == [one["n_nonfinite"] > 0 for one in written]
    assert 0 < marks.count("#c2271a") < len(marks)


def test_whatever_a_page_quotes_is_escaped(incident: Path) -> None:
    wild = "<script>alert('&')</script>"

    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoilt(item) for key, item in value.items()}
        if isinstance(value, list):
            return [spoilt(item) for item in value]
        return wild if isinstance(value, str) and value not in ("forward", "backward") else value

    text = page(spoilt(receipt.read(incident)), wild, [wild])
    assert "<script" not in text and text.count("&lt;script&gt;") > 100


def test_a_page_of_a_spike_has_no_place(tmp_path: Path) -> None:
    overrides = ["checks.spike.threshold=0.01", "checks.spike.warmup=2"]
    train(config(tmp_path, *overrides, "train.steps=6"), tmp_path / "run")
    path = next((tmp_path / "run" / "incidents").glob("step-*.json"))
    text = page(receipt.read(path), "data or numerics", [])
    assert "spike: " in text and "Where it arose" not in text and text.count("<circle") > 50


# --- what is refused --------------------------------------------------------------------------------------------


def test_a_receipt_that_is_none_or_was_altered_is_refused(incident: Path, tmp_path: Path) -> None:
    text = incident.read_text()
    for wrong, told in (
        (text.replace('"shard": 2', '"shard": 3', 1), "has been altered"), (text[:-50], "is no JSON"),
        ('{"step": 3}', "is no incident"), ("[]", "is no incident"),
        (text.replace('"format": 1', '"format": 2'), "format 2"),
    ):
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(IncidentError, match=told):
            replay(tmp_path / "wrong.json", build_manager())
    with pytest.raises(IncidentError, match="cannot be read: No such file"):
        replay(tmp_path / "nowhere.json", build_manager())
    with pytest.raises(IncidentError, match="cannot be read: Is a directory"):
        replay(tmp_path, build_manager())


def test_weights_that_are_gone_or_altered_are_refused(incident: Path) -> None:
    weights = incident.parent / receipt.read(incident)["weights"]["file"]
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.unlink()
    with pytest.raises(IncidentError, match="the weights of the incident, is missing"):
        replay(incident, build_manager())
    weights.write_bytes(data)
    with pytest.raises(IncidentError, match="altered: its digest"):
        replay(incident, build_manager())
    weights.write_bytes(data[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        replay(incident, build_manager())


def test_another_text_another_numerics_and_another_cut_are_refused(incident: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT[::-1])
    with pytest.raises(DataError, match="replay: the text has changed"):
        replay(incident, build_manager())
    (tmp_path / "text.txt").write_text(TEXT)
    versions = receipt.read(incident)["versions"]
    rewrite(incident, versions={**versions, "n_shards": 3})
    with pytest.raises(IncidentError, match="an incident of 3 shards; expected 4"):
        replay(incident, build_manager())
    rewrite(incident, versions={**versions, "numerics": 0})
    with pytest.raises(IncidentError, match=r"numerics version 0; .* cllm 0\.1\.0, which wrote it"):
        replay(incident, build_manager())


def test_the_folder_may_have_moved_and_may_lack_the_cache_of_tokens(incident: Path, tmp_path: Path) -> None:
    shutil.copytree(incident.parent, tmp_path / "elsewhere" / "incidents")
    assert replay(tmp_path / "elsewhere" / "incidents" / incident.name, build_manager(), 1).same_bits
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["incidents"]


def test_a_page_that_cannot_be_written_is_an_error(
    incident: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(incident), "--html", str(tmp_path / "nowhere" / "page.html")]) == 1
    assert "cllm: replay: cannot use " in capsys.readouterr().err


def test_the_injected_nan_is_an_option_of_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config(tmp_path)
    words = ["--data", str(tmp_path / "text.txt"), "--out", str(tmp_path / "run"), "--set", "model.n_layer=1"]
    assert main(["train", *words, "--inject-nan", "2", "--set", "train.inject_nan_in=forward"]) == 17
    assert "first non-finite: fault forward, shard 2" in capsys.readouterr().err
    assert cllm.load_config(tmp_path / "run" / "config.toml").train.inject_nan == 2
    with pytest.raises(SystemExit):
        main(["train", "--demo", "--inject-nan", "0"])
