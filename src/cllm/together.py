"""What the ranks of a run do together beside computing: they begin as one, and tell each other what they have seen.

With a single rank all of it is what one process does anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cllm.assemble import open_run_data
from cllm.checkpoint import RunFacts
from cllm.config import Config, to_mapping
from cllm.config.compare import flatten
from cllm.data.source import OpenData
from cllm.digest import bytes_digest
from cllm.errors import count
from cllm.hooks.plugins import Plugins
from cllm.hooks.reports import StepReport
from cllm.ranks import Ranks
from cllm.runfolder import RunFolder
from cllm.state import TrainState


def open_folder(ranks: Ranks, name: str, out: str | Path | None, resume: str | Path | None) -> RunFolder:
    """The run folder, which is rank 0's; the others know where it is, and write nothing there. Or RunFolderError."""
    made: list[RunFolder] = []

    def make() -> str:
        create = partial(RunFolder.create, name=name, out=Path(out) if out else None)
        made.append(create() if resume is None else RunFolder.resume(Path(resume)))
        return str(made[0].path)

    path = ranks.from_first("the run folder", make)
    return made[0] if made else RunFolder(Path(path), None)


def open_data(ranks: Ranks, config: Config, plugins: Plugins, cache: Path) -> OpenData:
    """The data of a run: rank 0 first, so that text is prepared but once; the others find it in the cache."""
    opened: list[OpenData] = []

    def open_mine() -> str:
        opened.append(open_run_data(config, plugins, cache))
        return ""

    ranks.from_first("the data", open_mine)
    if not opened:
        open_mine()
    return opened[0]


def agree_on_beginning(ranks: Ranks, config: Config, facts: RunFacts, state: TrainState) -> None:
    """All that decides bits, in few words. Raises RankError where ranks differ in it."""

    def seen() -> str:
        decides = [pair for pair in flatten(to_mapping(config)) if pair[0] != "train.threads"]
        return (
            f"cllm {facts.cllm_version}, numerics {facts.numerics_version}, data {facts.data_digest[:16]}, "
            f"config {bytes_digest(repr(decides).encode())[:16]}, state {state.digest()[:16]}"
        )

    ranks.note(seen)
    ranks.agree("the beginning")


def remarks(ranks: Ranks, n_threads: int) -> Iterator[str]:
    """What somebody should know who has started several ranks of so many threads."""
    share = ranks.share
    if ranks.are_fast:
        yield f"fast: bits depend on the number of ranks, {share.n_ranks}, and are not promised"
    if share.n_ranks > 1 and not share.has_room_for(n_threads):
        yield f"{count(share.on_cores, 'rank')} of {count(n_threads, 'thread')} share too few cores, and will wait"


def seen_in(report: StepReport) -> str:
    """What all ranks must have come to in a step."""
    return (
        f"step {report.step}, batch {report.batch_index}: {report.decision} {'; '.join(report.reasons)} with loss "
        f"{report.loss!r}, gradient norm {report.gradient_norm!r}, clip {report.clip!r}, learning rate "
        f"{report.learning_rate!r}, without shards {report.dropped}, digest {report.digest}"
    )
