"""The profile of a step: every op of every shard on some thread, sums that fit, and a trace that a viewer can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cllm.assemble import Assembly, assemble, open_run_data
from cllm.config import load_config
from cllm.hooks.manager import build_manager
from cllm.profiling.peak import Peak, measure_peak
from cllm.profiling.profile import Line, Profile, profile, short_name, work_of
from cllm.profiling.trace import write_trace
from cllm.recording import FOLD, MEET, PACK
from tests.runs import TEXT
from tests.test_cli import SMALL, cllm

N_STEPS = 2


def parts(folder: Path, n_threads: int) -> Assembly:
    (folder / "book.txt").write_text(TEXT)
    sizes = [word for word in SMALL if word != "--set"]
    config = load_config(None, [f"data.path={folder}/book.txt", f"train.threads={n_threads}", *sizes])
    plugins = build_manager()
    return assemble(config, open_run_data(config, plugins, folder), plugins)


@pytest.fixture(scope="module", params=[1, 3])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return profile(parts(tmp_path_factory.mktemp("profile"), request.param), N_STEPS)


def test_every_op_of_every_shard_is_seen_once_a_step(seen: Profile) -> None:
    found = sorted((int(e["what"]), int(e["shard"])) for events in seen.threads for e in events if e["what"] >= 0)
    n = 2 * len(seen.program.ops)
    assert found == sorted([(what, shard) for what in range(n) for shard in range(len(seen.rows))] * N_STEPS)


def test_every_thread_packs_and_meets_once_a_step_and_the_tree_is_folded(seen: Profile) -> None:
    for events in seen.threads:
        whats = list(events["what"])
        assert whats.count(PACK) == N_STEPS
        # What threads leave meets, where they leave more than one subtree; then the total is scaled.
        assert whats.count(MEET) == N_STEPS * (1 + (len(seen.threads) > 1))
    n_folds = sum(list(events["what"]).count(FOLD) for events in seen.threads)
    # A merge of whole gradients, or one of each op with parameters and one of the tied embedding.
    assert n_folds <= N_STEPS * (len(seen.rows) - 1) * (len(seen.program.ops) + 1)


def test_a_thread_does_one_thing_at_a_time(seen: Profile) -> None:
    for events in seen.threads:
        assert (events["end"] >= events["begin"]).all()
        assert (events["begin"][1:] >= events["end"][:-1]).all()


def test_the_lines_add_up_to_the_model_s_flops_and_to_the_time_of_the_threads(seen: Profile) -> None:
    per_token = seen.program.flops_per_token(seen.program.block_size)
    assert sum(line.flops for line in seen.lines()) == pytest.approx(per_token * seen.tokens_per_step * N_STEPS)
    assert sum(line.flops for line in seen.lines(by_op=True)) == pytest.approx(
        per_token * seen.tokens_per_step * N_STEPS
    )
    assert 0.0 <= seen.waiting() <= seen.seconds * seen.n_threads


def test_nothing_is_written_down_after_the_recording(tmp_path: Path) -> None:
    made = parts(tmp_path, 2)
    with made.engine.recording(1) as recorded:
        made.engine.gradient(made.state.parameters, made.batches(0), made.reducer)
    n = [len(events) for events in recorded.threads()]
    made.engine.gradient(made.state.parameters, made.batches(0), made.reducer)
    assert [len(events) for events in recorded.threads()] == n


def test_a_recording_that_is_full_loses_the_rest_and_nothing_else(tmp_path: Path) -> None:
    made = parts(tmp_path, 1)
    expected = made.engine.gradient(made.state.parameters, made.batches(0), made.reducer).gradient.copy()
    with made.engine.recording(1) as recorded:
        for _ in range(3):
            again = made.engine.gradient(made.state.parameters, made.batches(0), made.reducer).gradient
    (events,) = recorded.threads()
    assert 0 < len(events) < 3 * len(made.program.ops) * 2 * made.engine.n_shards
    assert again.tobytes() == expected.tobytes()


def test_the_trace_has_a_track_for_the_steps_and_one_for_every_thread(seen: Profile, tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.json", seen)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["args"]["name"] for e in events if e["ph"] == "M"] == [
        "steps", *(f"thread {i}" for i in range(seen.n_threads))
    ]
    spans = [e for e in events if e["ph"] == "X"]
    assert {e["tid"] for e in spans} == set(range(seen.n_threads + 1))
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in spans)
    assert {"step", "optimizer", "waiting", "pack weights", "lm_head backward"} <= {e["name"] for e in spans}


def test_bytes_are_those_of_the_arrays_that_an_op_reads_and_writes(seen: Profile) -> None:
    rows, c = 3, 16  # of SMALL's channels, the inner layer is four times as wide
    ops = {short_name(op): op for op in seen.program.ops}

    def values(name: str, backward: bool) -> float:
        return work_of(seen.program, ops[name], backward, rows)[1] / 4.0

    weights = 4 * c * c
    assert values("mlp.c_fc", False) == rows * (c + 4 * c) + weights + 4 * c  # x, y; weight, bias
    assert values("mlp.c_fc", True) == rows * (2 * c + 4 * c) + 2 * weights + 4 * c  # x, dx, dy; weight, both gradients
    assert values("mlp.act", True) == rows * 3 * 4 * c  # slope, dy, dx
    assert values("mlp.residual", True) == 0.0
    assert values("wpe", True) == rows * c + seen.program.table["transformer.wpe.weight"].size  # dy, dweight


def test_names_of_ops_are_those_within_a_layer(seen: Profile) -> None:
    assert {"attn.c_attn", "mlp.c_proj", "wte", "lm_head", "ln_f"} <= {short_name(op) for op in seen.program.ops}


def test_the_roof_is_the_larger_of_arithmetic_and_memory() -> None:
    peak = Peak(2, flops=200.0, bandwidth=20.0)
    assert peak.attainable(400.0, 20.0) == 2.0
    assert peak.attainable(200.0, 60.0) == 3.0
    # One of two threads has half of either: 100 operations in one second are all that it can do.
    assert Line("x", "forward", 1, 1.0, 100.0, 0.0).roof_share(peak) == 1.0


def test_the_peak_of_this_machine_is_a_sensible_number() -> None:
    peak = measure_peak(1)
    assert 1e8 < peak.flops < 1e13
    assert 1e8 < peak.bandwidth < 1e13


def test_the_command_profiles_a_config_and_a_run(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(TEXT)
    assert cllm("train", "--data", "book.txt", *SMALL, "--out", "run", cwd=tmp_path).returncode == 0
    table = cllm("profile", "run", "--steps", "1", "--threads", "2", "--trace", "t.json", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "mlp.c_fc" in table.stdout and "waiting" in table.stdout and "of roof" in table.stdout
    assert (tmp_path / "t.json").stat().st_size > 1000
    facts = json.loads(cllm("profile", "run/config.toml", "--steps", "1", "--json", cwd=tmp_path).stdout)
    assert facts["tokens_per_second"] > 0 and {"name", "seconds", "flops", "roof_share"} <= set(facts["ops"][0])
