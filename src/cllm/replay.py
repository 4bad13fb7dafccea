"""Computes the step of an incident again, long after the run: is it still as the receipt says?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm import kernels, receipt
from cllm.assemble import Outline, open_run_data, outline
from cllm.config import Config, from_mapping
from cllm.errors import IncidentError
from cllm.hooks.plugins import Plugins
from cllm.investigation import OTHER, SAME, Findings, Seen, compute_again
from cllm.program import Program
from cllm.resume import refuse_other_data
from cllm.state import check_tensors


@dataclass(frozen=True)
class Replayed:
    """An incident, and its step computed again."""

    incident: Mapping[str, Any]  # the receipt
    findings: Findings
    n_threads: int
    moved: bool  # whether the first value that is not finite is another one than in the receipt

    @property
    def same_bits(self) -> bool:
        """Whether the replay gave what the run had seen, to the bit."""
        return not (self.findings.differs or self.moved)

    @property
    def cause(self) -> str:
        return SAME if self.same_bits else OTHER

    @property
    def differs_in(self) -> tuple[str, ...]:
        """What has other bits, and by whom it was computed."""
        found = [f"{what} by the engine" for what in self.findings.engine]
        found += [f"{what} op by op" for what in self.findings.stepwise]
        return (*found, *(["the first value that is not finite"] if self.moved else []))


def config_of(incident: Mapping[str, Any]) -> Config:
    """The config of the run that had it."""
    return from_mapping(incident["config"])


def replay(path: Path, plugins: Plugins, n_threads: int | None = None) -> Replayed:
    """By the engine on n_threads (left out: as the run), then op by op on one.

    Raises IncidentError for a receipt or weights that are missing, altered or of another cllm; what open_data raises;
    DataError for another text.
    """
    incident = receipt.read(path)
    _refuse_other_numerics(incident)
    config = config_of(incident)
    threads = n_threads or int(incident["versions"]["n_threads"])
    config = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, threads=threads))
    with TemporaryDirectory() as temporary:
        cache = path.parent.parent / "data"
        data = open_run_data(config, plugins, cache if cache.exists() else Path(temporary))
        refuse_other_data(SimpleNamespace(**incident["versions"]), data, "replay")
        known = outline(config, data, plugins)
        parameters = _parameters(path, incident, known.program)
        engine, batch = known.engine(), known.batches(int(incident["batch_index"]))
        _refuse_other_shards(incident, engine.n_shards)
        found = compute_again(
            engine, parameters, batch, known.reducer, _seen(incident), incident["dropped"],
            config.train.micro_batch_size,
        )
    return Replayed(incident, found, threads, _has_moved(incident, found, known))


def _seen(incident: Mapping[str, Any]) -> Seen:
    """What the run saw. The gradient of a reducer that was an object in Python cannot be made again."""
    seen = incident["seen"]
    gradient = None if incident["own_reducer"] else seen["gradient"]
    return Seen(seen["loss"], tuple(seen["shard_losses"]), gradient, seen["n_nonfinite"])


def _parameters(path: Path, incident: Mapping[str, Any], program: Program) -> NDArray[np.float32]:
    if incident["weights"] is None:
        raise IncidentError(
            "replay", f"{path} has no weights: they could not be kept", "an incident with its weights",
            "resume the run: it will meet the same step again",
        )
    tensors = receipt.read_weights(path.parent, incident["weights"])
    check_tensors(program.parameters, tensors, incident["weights"]["file"])
    parameters = np.empty(program.n_parameters, dtype=np.float32)
    for name, view in program.views(parameters):
        view[...] = tensors[name]
    return parameters


def _has_moved(incident: Mapping[str, Any], found: Findings, known: Outline) -> bool:
    first, told = found.walk.first, incident["first"]
    if first is None or told is None:
        return (first is None) != (told is None)
    here = (first.shard, known.program.ops[first.op].name, first.backward, first.tensor, list(first.index))
    return here != (told["shard"], told["op"], told["direction"] == "backward", told["tensor"], told["index"])


def _refuse_other_numerics(incident: Mapping[str, Any]) -> None:
    was = incident["versions"]["numerics"]
    if was != kernels.NUMERICS_VERSION:
        raise IncidentError(
            "replay", f"an incident of numerics version {was}", f"{kernels.NUMERICS_VERSION}, as this cllm computes",
            f"replay it with cllm {incident['versions']['cllm']}, which wrote it",
        )


def _refuse_other_shards(incident: Mapping[str, Any], n_shards: int) -> None:
    was = incident["versions"]["n_shards"]
    if was != n_shards:
        raise IncidentError(
            "replay", f"an incident of {was} shards", f"{n_shards}, as this cllm cuts such a batch",
            f"replay it with cllm {incident['versions']['cllm']}, which wrote it",
        )
