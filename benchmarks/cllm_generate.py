"""Generation by cllm as a user has it: `cllm.load(run)` once, then `stream`, of which `generate` is the whole."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import cllm
from benchmarks.generated import N_PROMPT, Generated, block_of, generated, run_of
from benchmarks.task import read
from cllm.decoder import Decoder
from cllm.sampling import Sampling


class CllmGenerate:
    """Called, it generates until the block is full."""

    def __init__(self, folder: Path) -> None:
        task, _, _ = read(folder)
        self.model = cllm.load(run_of(folder))
        assert self.model.tokenizer is not None
        self.tokenizer, self.block = self.model.tokenizer, block_of(task)
        self.prompt = self.tokenizer.decode(self.block[:N_PROMPT])
        self.description = f"cllm {self.model.facts.cllm_version}"

    def __call__(self, call: int) -> Generated:
        n, times, pieces = len(self.block) - N_PROMPT, [perf_counter()], []
        for piece in self.model.stream(self.prompt, n, Sampling(temperature=0.0)):
            pieces.append(piece)
            times.append(perf_counter())
        tokens = [int(token) for token in self.tokenizer.encode("".join(pieces))]
        return generated(tokens, times[: n + 1], times[-1], [] if call else self.largest_logits())

    def largest_logits(self) -> list[float]:
        decoder = Decoder(self.model.decoding, self.model.parameters)
        return [float(decoder.feed([token]).max()) for token in self.block]
