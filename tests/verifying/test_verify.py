"""`cllm verify`: a sound run is called sound, each damage is named, nothing is written, also while a run goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cllm import statefile
from cllm.cli import main
from cllm.digest import file_digest
from cllm.errors import InstabilityAbort, RunFolderError
from cllm.hooks.manager import build_manager
from cllm.runfolder import RunFolder
from cllm.verifying import verify
from tests.layers import ROOT
from tests.runs import config, train
from tests.test_checkpoint import flip

NEWEST = "checkpoints/step-00000012"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    train(config(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def found(path: Path) -> list[str]:
    return [str(problem) for problem in verify(path, build_manager()).problems]


def data_of(run: Path) -> Path:
    [folder] = (run / "data").iterdir()
    return folder


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """What would show a write, of files and folders."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


def test_a_whole_run_is_sound_and_only_read(run: Path) -> None:
    before = tree(run)
    for path in (run, *run.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    report = verify(run, build_manager())
    assert (report.kind, report.problems, report.notes) == ("run", [], [])
    assert report.counts["checkpoints"] == 3
    assert report.counts["ledger records"] == 4  # plugins, three digests
    assert report.counts["reports"] == 12
    assert report.counts["tokens"] > 10_000
    assert tree(run) == before
    for path in (run, *run.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_prepared_data_and_a_token_file_are_sound(run: Path) -> None:
    assert found(data_of(run)) == []
    assert found(data_of(run) / "train.tokens") == []


FLIPPED = [
    "config.toml", "ledger.jsonl",
    *(f"{NEWEST}/{name}" for name in ("model.safetensors", "optimizer.safetensors", "config.json", "state.json",
                                      "tokenizer.json")),
    "checkpoints/step-00000005/model.safetensors", "train.tokens", "validation.tokens",
]


@pytest.mark.parametrize("name", FLIPPED)
def test_a_flipped_bit_is_one_problem_that_names_its_file(run: Path, name: str) -> None:
    flip(data_of(run) / name if name.endswith(".tokens") else run / name)
    [problem] = found(run)
    assert name in problem
    assert str(run) not in problem
    assert len(problem.split("; ")) >= 2


def lose_a_record(run: Path) -> None:
    path = run / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def lie_in_metrics(run: Path) -> None:
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[3])
    assert record["step"] == 4
    lines[3] = json.dumps({**record, "digest": "0" * 64}).encode() + b"\n"
    path.write_bytes(b"".join(lines))


def swap_generation(run: Path) -> None:
    """Another run's checkpoint, sound in itself."""
    other = run.parent / "other"
    other.mkdir()
    train(config(other, "train.seed=7"), other / "run")
    shutil.rmtree(run / NEWEST)
    shutil.copytree(other / "run" / NEWEST, run / NEWEST)


def reseal(generation: Path, name: str, forge: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Change tensors, and the record with them: as a faulty program would write them, not as a disk would."""
    tensors = load_file(generation / name)
    forge(tensors)
    save_file(tensors, generation / name)
    record = statefile.read(generation)
    size = (generation / name).stat().st_size
    files = {**record.files, name: statefile.FileRecord(size, file_digest(generation / name))}
    (generation / "state.json").write_bytes(statefile.encode(msgspec.structs.replace(record, files=files)))


def forge_parameter(run: Path) -> None:
    reseal(run / NEWEST, "model.safetensors", lambda tensors: tensors["transformer.ln_f.bias"].__iadd__(1))


def forge_moment(run: Path) -> None:
    reseal(run / NEWEST, "optimizer.safetensors", lambda tensors: tensors["first_moment"].__iadd__(1))


def forge_nan(run: Path) -> None:
    reseal(run / NEWEST, "model.safetensors", lambda tensors: tensors["transformer.ln_f.bias"].fill(np.nan))


def narrow_the_model(run: Path) -> None:
    text = (run / "config.toml").read_text().partition("\n")[2].replace("n_embd = 16", "n_embd = 32")
    RunFolder(run, None).write_config(text)


def meet_an_incident(run: Path) -> Path:
    """The run of a run that a NaN has stopped, instead of this one; its receipt."""
    shutil.rmtree(run)
    with pytest.raises(InstabilityAbort):
        train(config(run.parent, "train.inject_nan=8", "train.steps=12"), run)
    assert found(run) == []
    [path] = (run / "incidents").glob("step-*.json")
    return path


def lose_the_weights(run: Path) -> None:
    next(meet_an_incident(run).parent.glob("weights-*")).unlink()


def break_an_incident(run: Path) -> None:
    flip(meet_an_incident(run))


def append_nonsense(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write("nonsense\n")


def swap_tokenizer(run: Path) -> None:
    (data_of(run) / "tokenizer.json").write_text('{"alphabet": "abc", "name": "char", "version": 1}')


def miscount(run: Path) -> None:
    path = data_of(run) / "prepare.json"
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), "n_train_tokens": 7}))


DAMAGES: list[tuple[Callable[[Path], object], str, str]] = [
    (lambda run: (run / "config.toml").unlink(), "config.toml", "No such file"),
    (lambda run: (run / NEWEST / "state.json").unlink(), f"{NEWEST}/state.json", "cannot be read"),
    (lambda run: (data_of(run) / "validation.tokens").unlink(), "data/", "validation.tokens: is missing"),
    (lose_a_record, "ledger.jsonl", "the record of step 12, which metrics.jsonl tells of, is missing"),
    (lie_in_metrics, "ledger.jsonl", "step 4 has another digest than in metrics.jsonl"),
    (swap_generation, "ledger.jsonl", "and step-00000012 "),
    (forge_parameter, NEWEST, "its state has the digest"),
    (forge_moment, NEWEST, "its state has the digest"),
    (forge_nan, NEWEST, "parameter transformer.ln_f.bias is not finite at element 0"),
    (narrow_the_model, NEWEST, "does not fit the model"),
    (lose_the_weights, "incidents/step-00000008-batch-", "the weights of the incident, is missing"),
    (break_an_incident, "incidents/step-00000008-batch-", ""),
    (append_nonsense, "metrics.jsonl", "line 13 is no report of a step"),
    (swap_tokenizer, "data/", "is not the tokenizer of train.tokens"),
    (miscount, "data/", "n_train_tokens = 7"),
]


@pytest.mark.parametrize(("damage", "file", "words"), DAMAGES)
def test_what_no_digest_of_a_file_shows_is_a_problem(
    run: Path, damage: Callable[[Path], object], file: str, words: str
) -> None:
    damage(run)
    problems = found(run)
    assert any(problem.startswith(file) and words in problem for problem in problems), problems
    # All three checkpoints are those of another model; everything else is one thing.
    assert len(problems) == (3 if damage is narrow_the_model else 1)


def test_every_problem_is_told_not_only_the_first(run: Path) -> None:
    for name in FLIPPED:
        flip(data_of(run) / name if name.endswith(".tokens") else run / name)
    problems = found(run)
    assert len(problems) == len(FLIPPED) - 4  # of the newest checkpoint's five files the first


def test_what_a_kill_leaves_is_no_problem(run: Path) -> None:
    for stray in (".tmp-config.toml-1-ab", "checkpoints/.tmp-step-00000015-1-ab", "data/.tmp-x-1-ab"):
        (run / stray).mkdir()
    with (run / "ledger.jsonl").open("a") as file:
        file.write('{"batch_in')
    report = verify(run, build_manager())
    assert report.problems == []
    assert [note.file for note in report.notes] == [
        "ledger.jsonl", ".tmp-config.toml-1-ab", "checkpoints/.tmp-step-00000015-1-ab", "data/.tmp-x-1-ab",
    ]


CHILD = """
import sys
from pathlib import Path
from tests.runs import config, train
folder = Path(sys.argv[1])
train(config(folder, "train.steps=100", "checkpoint.every=1", "train.digest_every=1"), folder / "run")
"""


def test_a_run_that_goes_on_is_sound_at_every_moment(tmp_path: Path) -> None:
    """Whatever is half-way: a checkpoint that is written or let go, a record whose checkpoint is yet to come."""
    n_looks = 0
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT) as process:
        while process.poll() is None:
            if (tmp_path / "run" / "config.toml").exists():
                assert found(tmp_path / "run") == []
                n_looks += 1
    assert process.returncode == 0
    assert n_looks > 3
    assert found(tmp_path / "run") == []


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_what_is_neither_run_nor_data_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="expected the folder of a run or of prepared data, or a token file"):
        verify(tmp_path / name, build_manager())


def test_the_command_prints_a_line_for_each_problem(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run)]) == 0
    assert capsys.readouterr().out.startswith(f"{run}: the run is sound: 3 checkpoints, 12 reports, 4 ledger records")
    flip(run / "config.toml")
    (run / ".tmp-x").mkdir()
    assert main(["verify", str(run)]) == 1
    printed = capsys.readouterr()
    problem, summary = printed.out.splitlines()
    assert problem.startswith("config.toml: has been altered") and summary == f"{run}: 1 problem"
    assert printed.err.startswith("cllm: warning: .tmp-x: being written, or left by a kill")
    assert main(["verify", str(run), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["sound"], told["problems"][0]["file"], told["kind"]) == (False, "config.toml", "run")
