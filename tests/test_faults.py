"""Faults in every op and phase, in checked builds: each is stopped before the update, and found where it was made.

    tox -e checked
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm import kernels, receipt
from cllm.builtin.text import TextConfig, TextDataset
from cllm.data.prepare import prepare
from cllm.data.tokenizers import ByteTokenizer
from cllm.engine import Engine
from cllm.env import Fault
from cllm.errors import InstabilityAbort, UsageError
from cllm.faults import written
from cllm.hooks.manager import build_manager
from cllm.ops.dropout import mask
from cllm.ops.kind import Call
from cllm.program import Op, Program
from cllm.replay import replay
from tests.evidence import record
from tests.models import Tree, a_batch, a_model, always_in_lockstep, build, shape
from tests.runs import config

BATCH, SEED, SHARDS = 1, 1337, (0, 1, 2, 3, 5)  # the first sequence of each shard, and the end
# Settings of the model, and whether its shards run in lockstep: there by two threads, else by one.
RUNS: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"dropout": 0.1}, False), ({"bias": False}, True), ({"dtype": "bfloat16"}, False),
    ({"dtype": "bfloat16", "dropout": 0.1, "activation": "gelu"}, True),
    ({"family": "llama", "n_kv_head": 1, "n_inner": 33}, True),
    ({"family": "llama", "dtype": "bfloat16", "n_kv_head": 2, "n_inner": 33, "qk_norm": True}, False),
)


def needs_a_checked_build() -> None:
    if not kernels.CHECKED:
        give_up = pytest.fail if os.environ.get("CLLM_EXPECT_CHECKED") == "1" else pytest.skip
        give_up("faults are made by a checked build alone: tox -e checked")


# --- what may be asked for --------------------------------------------------------------------------------------


def test_a_build_that_makes_none_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CHECKED", False)
    monkeypatch.setenv("CLLM_FAULT", "op=attention_backward,layer=0,shard=0,step=0")
    program, _ = a_model("plain")
    with pytest.raises(UsageError, match=r"makes no faults; expected a checked one; .*-Dchecked=true"):
        Engine(program, 5, 1)
    Engine(build(shape(), "evaluate"), 5, 1)  # where nothing is learned there is nothing to spoil


@pytest.mark.parametrize(("text", "told"), [
    ("op=attenton_forward,shard=0,step=0", 'did you mean "attention"'),
    ("op=attention_forward,layer=2,shard=0,step=0", "op=attention,layer=2; expected an op of this model"),
    ("op=attention_forward,shard=4,step=0", "shard=4; expected 0 to 3"),
    ("op=transformer.h.1.ln_2_forward,shard=0,step=0,element=320", "element=320; expected 0 to 319"),
    ("op=add_forward,shard=0,step=0,tensor=x", "tensor=x of transformer.h.0.attn.residual forward"),
    ("op=cross_entropy_forward,shard=0,step=0", "of lm_head forward; expected one of nothing"),
])  # fmt: skip
def test_a_fault_that_the_model_cannot_have_is_refused(text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CHECKED", True)
    monkeypatch.setenv("CLLM_FAULT", text)
    with pytest.raises(UsageError) as caught:
        Engine(a_model("plain")[0], 5, 1)
    assert told in str(caught.value)


def test_one_element_of_one_shard_of_one_batch_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_a_checked_build()
    program, parameters = a_model("plain")
    usual = Engine(program, 5, 2, seed=7).gradient(parameters, a_batch(program, 5), Tree())
    losses = usual.shard_losses
    monkeypatch.setenv("CLLM_FAULT", "op=transformer.h.0.attn_forward,shard=2,step=3,element=5,value=nan")
    engine = Engine(program, 5, 2, seed=7)
    found = engine.gradient(parameters, a_batch(program, 5), Tree()).shard_losses
    assert [loss == usual for loss, usual in zip(found, losses, strict=True)] == [True, True, False, True]
    assert all(loss == loss for loss in engine.gradient(parameters, a_batch(program, 5, 4), Tree()).shard_losses)


# --- all of them ------------------------------------------------------------------------------------------------


def faults(program: Program) -> Iterator[tuple[Op, Fault]]:
    """Every tensor that every op writes in every direction; values and shards in turn."""
    values = itertools.cycle(("nan", "inf", "-inf"))
    shards = itertools.cycle(range(len(SHARDS) - 1))
    for op, backward in itertools.product(program.ops, (False, True)):
        for tensor in written(op, program, backward):
            shard = next(shards)
            element = _kept(program, tensor, backward, SHARDS[shard])
            yield op, Fault(op.name, backward, op.layer, shard, BATCH, tensor, element, float(next(values)))


def _kept(program: Program, tensor: str, backward: bool, sequence: int) -> int:
    """The first element that dropout, if it comes next, does not drop: what is dropped harms nobody."""
    for index, op in enumerate(program.ops):
        if op.kind.name == "dropout" and tensor == (op.outputs if backward else op.inputs)[0]:
            call = Call(op.attributes, program.block_size, index, sequence, BATCH, SEED)
            masks = mask(call, sequence, program.block_size * program.width(tensor), op.attributes["probability"])
            return int(masks.argmax())
    return 0


def asked(fault: Fault) -> str:
    return (
        f"op={fault.op}_{'backward' if fault.backward else 'forward'},shard={fault.shard},step={fault.step},"
        f"tensor={fault.tensor},element={fault.element},value={fault.value}"
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of a run on prepared tokens, which thousands of runs need not prepare again."""
    folder = tmp_path_factory.mktemp("data")
    config(folder)
    prepare(TextDataset(TextConfig(str(folder / "text.txt"))), ByteTokenizer, folder / "out", validation=0)
    return [
        f"data.path={folder / 'out'}", "data.validation=0", "train.steps=3", "schedule.warmup_steps=0",
        "sinks.jsonl=false",
    ]


@pytest.mark.timeout(900)
def test_every_fault_is_stopped_before_the_update_and_found_where_it_was_made(
    tmp_path: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    needs_a_checked_build()
    counts: dict[tuple[str, str], Counter[str]] = {}
    failures: list[str] = []
    numbers = itertools.count()
    for model, lockstep in RUNS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", lambda descriptor: None)  # hundreds of runs that nobody will need after a crash
            if lockstep:
                always_in_lockstep(patch)
            overrides = [f"model.{key}={str(value).lower()}" for key, value in model.items()]
            overrides.append(f"train.threads={1 + lockstep}")
            program = build(shape(vocab_size=256, n_embd=16, **model), "train")
            for op, fault in faults(program):
                patch.setenv("CLLM_FAULT", asked(fault))
                out = tmp_path / str(next(numbers))
                made = config(tmp_path, *settings, *overrides)
                stopped, found = outcome(made, out, lockstep)
                located = found is not None and is_place_of(found, op, fault)
                count = counts.setdefault((op.kind.name, "backward" if fault.backward else "forward"), Counter())
                count.update(injected=1, stopped=stopped, located=located)
                if not (stopped and located):
                    failures.append(f"{model}, lockstep {lockstep}: {asked(fault)}: stopped {stopped}, {found}")
    total = sum(counts.values(), Counter())
    with capsys.disabled():
        print("\n" + matrix(counts))
    assert not failures, "\n".join(failures)
    assert total["injected"] > 300
    record("faults", injected=total["injected"], stopped=total["stopped"], located=total["located"])


def outcome(made: Any, out: Path, lockstep: bool) -> tuple[bool, dict[str, Any] | None]:
    """Whether a run was stopped with parameters, optimizer and cursor as after its first step; and the place found."""
    before = ""
    with cllm.Trainer(made, out) as trainer:
        assert trainer.parts.engine.lockstep == lockstep
        try:
            for report in trainer:
                before = trainer.state.digest() if report.decision == "step" else before
            return False, None
        except InstabilityAbort:
            stopped = trainer.state.step == BATCH and trainer.state.digest() == before
    (path,) = (out / "incidents").glob("step-*.json")
    return stopped, receipt.read(path)["first"]


def is_place_of(found: dict[str, Any], op: Op, fault: Fault) -> bool:
    """Op, direction, layer, shard, and the very tensor."""
    told = tuple(found[key] for key in ("op", "direction", "layer", "shard", "tensor"))
    return told == (op.name, "backward" if fault.backward else "forward", op.layer, fault.shard, fault.tensor)


def matrix(counts: dict[tuple[str, str], Counter[str]]) -> str:
    lines = [f"{'op':20} {'direction':10} injected  stopped  located"]
    for (kind, direction), count in sorted(counts.items()):
        numbers = "  ".join(f"{count[key]:7}" for key in ("injected", "stopped", "located"))
        lines.append(f"{kind:20} {direction:10} {numbers}")
    return "\n".join(lines)


def test_a_fault_that_a_replay_does_not_meet_is_taken_for_what_it_stands_for(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor that was wrong once: later the same step gives other bits."""
    needs_a_checked_build()
    monkeypatch.setenv("CLLM_FAULT", "op=attention_backward,layer=1,shard=1,step=1")
    outcome(config(tmp_path, *settings), tmp_path / "run", lockstep=False)
    (path,) = (tmp_path / "run" / "incidents").glob("step-*.json")
    assert replay(path, build_manager()).same_bits
    monkeypatch.delenv("CLLM_FAULT")
    result = replay(path, build_manager())
    assert not result.same_bits and result.cause == "a race, memory or hardware"
    assert {"gradient by the engine", "gradient op by op"} <= set(result.differs_in)
