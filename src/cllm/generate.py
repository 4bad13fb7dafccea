"""Text from a trained model: `cllm.load(run).generate("Once")`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cllm import checkpoint
from cllm.arguments import check_path, check_plugins
from cllm.assemble import kinds_of
from cllm.averaging import average_of
from cllm.checkpoint import Checkpoint, RunFacts
from cllm.config import Config, load_config
from cllm.data.tokenizerfile import FILE_NAME, load_tokenizer
from cllm.decoder import Decoder
from cllm.env import MOST_THREADS
from cllm.errors import CheckpointError, TokenizerError, UsageError, check_kind
from cllm.floats import standard_floats
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import Tokenizer
from cllm.huggingface import model_config
from cllm.machine import default_threads
from cllm.newfolder import new_folder
from cllm.program import Program
from cllm.runfolder import RunFolder
from cllm.sampling import Sampling
from cllm.sizing import decoding_of
from cllm.state import check_tensors
from cllm.writing import usual_threads, write


@dataclass(frozen=True)
class Model:
    """A model as it was saved: its config, its parameters (P,) float32 or their average, its tokenizer."""

    config: Config  # of the run
    parameters: NDArray[np.float32]  # (P,), in the order of `decoding.parameters`
    tokenizer: Tokenizer | None  # None where the token files did not say what made them: it cannot write text
    decoding: Program  # computes the next token from those before it
    step: int  # updates done
    facts: RunFacts  # what the checkpoint says of its run
    warnings: tuple[str, ...] = ()  # of newer checkpoints that do not verify

    def generate(
        self, prompt: str = "\n", max_new_tokens: int = 200, seed: int = 0, *, temperature: float = 0.8,
        top_k: int | None = None, top_p: float | None = None, stop: str | None = None, n_threads: int | None = None,
    ) -> str:
        """The text that follows `prompt`, which is not part of it; the same at any number of threads."""
        sampling = Sampling(temperature, top_k, top_p, seed)
        return "".join(self.stream(prompt, max_new_tokens, sampling, stop, n_threads))

    def save(self, folder: str | Path) -> None:
        """Write weights, config.json and tokenizer into a new folder, which transformers and --init-from open.

        Of a run that averages its parameters ([train] ema_decay) the weights are the average. Raises CheckpointError
        where the folder is in use or cannot be written.
        """
        check_path("save", "folder", folder)
        with new_folder(Path(folder), CheckpointError, "save") as temporary:
            checkpoint.write_model(temporary, dict(self.decoding.views(self.parameters)), self.facts)

    def stream(
        self, prompt: str, max_new_tokens: int, sampling: Sampling, stop: str | None = None,
        n_threads: int | None = None,
    ) -> Iterator[str]:
        """Pieces of text as they are chosen, up to `stop`, which is left out.

        n_threads: left out, one for a small model, whose token is done before a second thread has met the first.
        """
        check_kind(UsageError, "generate", "prompt", prompt, str, "text", 'give text, such as "The "')
        check_kind(UsageError, "generate", "max_new_tokens", max_new_tokens, int, "a whole number", "ask for 200")
        check_kind(UsageError, "generate", "stop", stop, str | None, "text, or None", "leave it out")
        check_kind(UsageError, "generate", "n_threads", n_threads, int | None, "a whole number", "leave it out")
        if n_threads is not None and not 1 <= n_threads <= MOST_THREADS:
            raise UsageError("generate", f"{n_threads} threads", f"1 to {MOST_THREADS}", "leave it out")
        if max_new_tokens < 0:
            raise UsageError("generate", f"{max_new_tokens} new tokens", "0 or more", "ask for 200")
        if self.tokenizer is None:
            raise TokenizerError(
                "generate", "a model of token files that do not say what made them", "a model whose tokenizer is known",
                "train it on text, or on the files of `cllm prepare`",
            )
        decoder = Decoder(self.decoding, self.parameters, n_threads or usual_threads(self.decoding, default_threads()))
        return write(decoder, self.tokenizer, prompt, max_new_tokens, sampling, stop)


def _refuse_other_model(config: Config, saved: Checkpoint, path: Path) -> None:
    """CheckpointError where the config tells of another model: before that is built, which may be of any size."""
    for key, told in model_config(config.model).items():
        if saved.facts.model_config.get(key) != told:
            came = f"{path} tells of a model with {key} = {told}, {saved.path} of {saved.facts.model_config.get(key)}"
            raise CheckpointError("load", came, "the config of the run", "bring it back from a backup")


@standard_floats()
def load(run: str | Path, plugins: Plugins | None = None) -> Model:
    """The model in a run folder's newest checkpoint that verifies. Raises CheckpointError where there is none."""
    check_path("load", "run", run)
    check_plugins("load", plugins)
    folder = RunFolder.open(Path(run))
    config = load_config(folder.config_path)
    plugins = plugins or build_manager(allow=config.plugins.allow)
    saved = checkpoint.load_newest(folder.checkpoints)
    if saved is None:
        raise CheckpointError("load", f"no checkpoint in {run}", "at least one", "let the run reach its first")
    _refuse_other_model(config, saved, folder.config_path)
    program = decoding_of(config, plugins)
    check_tensors(program.parameters, saved.snapshot.parameters, str(saved.path))
    parameters = np.empty(program.n_parameters, dtype=np.float32)
    for name, view in program.views(parameters):
        view[...] = saved.snapshot.parameters[name]
    if config.train.ema_decay > 0.0 and saved.snapshot.step > 0:
        parameters = average_of(saved.snapshot.optimizer, program.n_parameters)
    tokenizer = None
    if saved.facts.tokenizer_digest:
        tokenizer = load_tokenizer(saved.path / FILE_NAME, kinds_of(plugins).tokenizer)
    return Model(config, parameters, tokenizer, program, saved.snapshot.step, saved.facts, saved.warnings)
