"""Checkpoints: a state saved so that it is whole or not there, and loaded only if every byte is as written.

    checkpoints/step-00001000/
      model.safetensors       the parameters under Hugging Face's names
      config.json             so that transformers loads the folder
      tokenizer.json         the tokenizer, where it is known, and tokenizer_config.json for transformers
      optimizer.safetensors   the optimizer's flat arrays
      state.json              cursor, scalars, checks, versions, and the digest of every file above

A folder is written under a temporary name, verified by reading it back, and renamed. A crash at any point
leaves the older generations, and at most a temporary folder that the next training process removes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cllm import atomic, statefile
from cllm.bounded import LARGEST_JSON, read_at_most
from cllm.digest import Array, Scalar, file_digest
from cllm.errors import CheckpointError
from cllm.generations import NAME, expendable, generation_path, generations, new_generation, remove, step_of
from cllm.state import ParameterLike, Snapshot, TrainState, check_tensors, refuse_non_finite
from cllm.statefile import FileRecord, StateRecord
from cllm.tensorfile import read_shapes, read_tensors, tensor_parts

MODEL = "model.safetensors"
CONFIG = "config.json"
OPTIMIZER = "optimizer.safetensors"
FILES = (MODEL, CONFIG, OPTIMIZER)


@dataclass(frozen=True)
class RunFacts:
    """What a checkpoint says of its run beside the state; the same for every checkpoint of a run."""

    model_config: Mapping[str, Any]  # config.json, see huggingface.gpt2_config
    tokenizer_files: Mapping[str, bytes]  # by name, see facts.tokenizer_files; none where nobody knows it
    n_shards: int
    plugins: Sequence[Any]  # Plugins.record()
    numerics_version: int
    cllm_version: str
    data_digest: str  # OpenData.digest
    tokenizer_digest: str  # empty where nobody knows it


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that verified; `warnings` tells of newer ones that did not."""

    path: Path
    snapshot: Snapshot
    facts: RunFacts
    digest: str  # of the state, numerics rule 9
    validation_loss: float | None
    warnings: tuple[str, ...] = ()


def save(
    folder: Path,
    state: TrainState,
    facts: RunFacts,
    *,
    validation_loss: float | None = None,
    keep: int = 3,
    keep_best: bool = False,
    every: int = 0,
) -> Path:
    """Save `state` under `folder` as a new generation, let old ones go, and return the path of the new one.

    Which ones stay is said in generations.expendable. After a
    CheckpointError (a value that is not finite, a disk that is full or lies) the older ones are untouched.
    """
    snapshot = state.snapshot()
    refuse_non_finite(snapshot)
    digest = state.digest()
    target = generation_path(folder, snapshot.step)
    with atomic.disk_errors(CheckpointError, "checkpoint", target):
        if not _is_saved(target, digest):
            with new_generation(target) as temporary:
                _write(temporary, snapshot, facts, digest, validation_loss)
                _verify_written(temporary, snapshot)
        for path in expendable(target, _losses(target, validation_loss), keep, keep_best, every):
            remove(path)
    return target


def remove_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps, the newest first: a run that is killed meanwhile goes on from the next."""
    with atomic.disk_errors(CheckpointError, "checkpoint", folder):
        for path in generations(folder):
            if step_of(path) > step:
                remove(path)


def load(path: Path) -> Checkpoint:
    """The checkpoint in the folder `path`; CheckpointError, naming the file, if any byte is not as saved."""
    record = verify(path)
    snapshot = Snapshot(
        step=record.step,
        batch_index=record.batch_index,
        skipped=record.skipped,
        parameters=read_tensors(path / MODEL),
        optimizer={**read_tensors(path / OPTIMIZER), **record.optimizer},
        checks=record.checks,
        course=record.course,
    )
    facts = RunFacts(
        model_config=_model_config(path / CONFIG),
        tokenizer_files={name: _small_file(path / name) for name in sorted(record.files) if name not in FILES},
        n_shards=record.n_shards,
        plugins=record.plugins,
        numerics_version=record.numerics_version,
        cllm_version=record.cllm_version,
        data_digest=record.data_digest,
        tokenizer_digest=record.tokenizer_digest,
    )
    return Checkpoint(path, snapshot, facts, record.digest, record.validation_loss)


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder` that verifies, or None if there is none at all.

    Newer ones that do not verify are told in `.warnings`; CheckpointError if there are only such, or the
    folder cannot be read.
    """
    warnings: list[str] = []
    with atomic.disk_errors(CheckpointError, "checkpoint", folder):
        found = generations(folder)
    for path in found:
        try:
            return replace(load(path), warnings=tuple(warnings))
        except CheckpointError as problem:
            warnings.append(f"checkpoint {path.name} is passed over: {problem.came}")
    if not warnings:
        return None
    raise CheckpointError(
        "checkpoint",
        f"none in {folder} verifies: {'; '.join(warnings)}",
        "one whose files are all as they were saved",
        "restore one from a backup, or start a new run",
    )


def restore(state: TrainState, checkpoint: Checkpoint) -> None:
    """Put `state` where `checkpoint` was taken; CheckpointError unless it then has the saved digest."""
    state.restore(checkpoint.snapshot)
    digest = state.digest()
    if digest != checkpoint.digest:
        raise CheckpointError(
            "checkpoint",
            f"{checkpoint.path} gives a state with digest {digest[:16]}...",
            f"{checkpoint.digest[:16]}..., that of the saved state",
            "resume with the optimizer and the plugin versions of the run (state.json lists them)",
        )


def load_weights(path: Path, table: Sequence[ParameterLike]) -> dict[str, Array]:
    """The parameters alone, for `--init-from`: name -> float32 array in the parameter's shape.

    `path` is a run folder, one checkpoint, a folder saved by transformers, or a safetensors file.
    CheckpointError if nothing is there, the file is damaged, or names and shapes are not those of `table`.
    A damaged newest checkpoint is an error here, not passed over: it must be plain where a new run starts.
    """
    file = _model_file(path)
    tied = {parameter.name for parameter in table if parameter.tied_to is not None}
    tensors = {name: tensor for name, tensor in read_tensors(file).items() if name not in tied}
    check_tensors(table, tensors, str(file))
    return tensors


def verify(path: Path) -> StateRecord:
    """The record of the checkpoint `path`, after reading all its bytes; CheckpointError names a bad file."""
    record = statefile.read(path)
    if NAME.fullmatch(path.name) and step_of(path) != record.step:
        raise _damaged(f"{path} holds step {record.step}")
    for name in FILES:
        if name not in record.files:
            raise _damaged(f"{path / statefile.NAME} does not list {name}")
    for name, expected in record.files.items():
        _verify_file(path / name, expected)
    return record


def _write(folder: Path, snapshot: Snapshot, facts: RunFacts, digest: str, validation_loss: float | None) -> None:
    arrays, scalars = _parted(snapshot.optimizer)
    digests = write_model(folder, snapshot.parameters, facts)
    digests[OPTIMIZER] = atomic.write_verified(folder / OPTIMIZER, tensor_parts(arrays))
    record = StateRecord(
        format=statefile.FORMAT,
        step=snapshot.step,
        batch_index=snapshot.batch_index,
        skipped=snapshot.skipped,
        validation_loss=validation_loss,
        n_shards=facts.n_shards,
        digest=digest,
        numerics_version=facts.numerics_version,
        cllm_version=facts.cllm_version,
        data_digest=facts.data_digest,
        tokenizer_digest=facts.tokenizer_digest,
        plugins=list(facts.plugins),
        optimizer=scalars,
        checks=dict(snapshot.checks),
        course=dict(snapshot.course),
        files={name: FileRecord((folder / name).stat().st_size, blake2b) for name, blake2b in digests.items()},
    )
    atomic.write_verified(folder / statefile.NAME, [statefile.encode(record)])


def write_model(folder: Path, parameters: Mapping[str, Array], facts: RunFacts) -> dict[str, str]:
    """Write what a model is, as Hugging Face's libraries read it; the digests of the files by name."""
    contents = {
        MODEL: tensor_parts(parameters),
        CONFIG: [statefile.json_bytes(facts.model_config, CONFIG)],
        **{name: [content] for name, content in facts.tokenizer_files.items()},
    }
    return {name: atomic.write_verified(folder / name, parts) for name, parts in contents.items()}


def _verify_written(folder: Path, snapshot: Snapshot) -> None:
    """Do what a resume would, short of copying tensors: compare all bytes, read the tables of tensors."""
    verify(folder)
    arrays, _ = _parted(snapshot.optimizer)
    for name, tensors in ((MODEL, snapshot.parameters), (OPTIMIZER, arrays)):
        if read_shapes(folder / name) != {key: tensor.shape for key, tensor in tensors.items()}:
            raise _damaged(f"{folder / name} was written with other tensors than the state's")


def _parted(optimizer: Mapping[str, Array | Scalar]) -> tuple[dict[str, Array], dict[str, Scalar]]:
    arrays = {name: value for name, value in optimizer.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in optimizer.items() if not isinstance(value, np.ndarray)}
    return arrays, scalars


def _is_saved(target: Path, digest: str) -> bool:
    """True if this very state stands there already, as after a resume interrupted before its first step."""
    try:
        return target.exists() and verify(target).digest == digest
    except CheckpointError:
        return False


def _losses(newest: Path, validation_loss: float | None) -> dict[Path, float | None]:
    """The validation loss of every generation that verifies; `newest` was verified a moment ago."""
    losses = {newest: validation_loss}
    for path in generations(newest.parent):
        try:
            if path != newest:
                losses[path] = verify(path).validation_loss
        except CheckpointError:
            continue
    return losses


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    with atomic.disk_errors(CheckpointError, "checkpoint", path):
        newest = [*generations(path / "checkpoints"), path][0]
    if (newest / statefile.NAME).exists():
        verify(newest)
    if (newest / MODEL).exists():
        return newest / MODEL
    raise CheckpointError(
        "checkpoint",
        f"no weights in {path}",
        f"a run folder, a checkpoint, or a folder with {MODEL}",
        "give the path of a run that has saved a checkpoint",
    )


def _verify_file(path: Path, expected: FileRecord) -> None:
    try:
        n_bytes = path.stat().st_size
        if n_bytes != expected.n_bytes:
            raise _damaged(f"{path} has {n_bytes} bytes, not the {expected.n_bytes} that were saved")
        if file_digest(path) != expected.blake2b:
            raise _damaged(f"{path} has been altered: its digest does not match")
    except OSError as problem:
        raise _damaged(f"{path} cannot be read: {problem.strerror or problem}") from problem


def _model_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_small_file(path))
    except (ValueError, RecursionError) as problem:
        raise _damaged(f"{path} is no JSON: {problem}") from problem
    if not isinstance(content, dict):
        raise _damaged(f"{path} is no object")
    return content


def _small_file(path: Path) -> bytes:
    with atomic.disk_errors(CheckpointError, "checkpoint", path):
        return read_at_most(path, LARGEST_JSON)


def _damaged(came: str) -> CheckpointError:
    return CheckpointError(
        "checkpoint", came, "the files as they were saved", "use an older checkpoint, or a backup of it"
    )
