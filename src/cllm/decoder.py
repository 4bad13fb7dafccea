"""Feeds tokens to a model one after the other and keeps what it knows of them: cached decoding.

The buffers of a decoding Program belong to one sequence and are kept between calls, so that the keys and values
of earlier tokens are still there: the cache. Every element is the same chain as in the full forward, hence the
same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.bounded import check_memory
from cllm.kernels import at
from cllm.lowering import lower
from cllm.machine import cores
from cllm.memory import decoder_memory
from cllm.outcomes import REFUSED, refuse_status
from cllm.program import Program
from cllm.teams import form_teams
from cllm.workers import Workers


class Decoder:
    """Logits of the next token for one growing sequence, of which the model sees the last block_size tokens."""

    def __init__(self, program: Program, parameters: NDArray[np.float32], n_threads: int = 1) -> None:
        self.block_size, self.vocab_size = program.block_size, program.vocab_size
        self._program, self._parameters = program, parameters
        lowered = lower(program, program.block_size, program.block_size)
        check_memory({"decoding": decoder_memory(program, n_threads, lowered.sizes)}, "decoding")
        self._packed = aligned.zeros(lowered.packed_size)
        self._tokens = np.zeros(program.block_size, dtype=np.int32)
        self._sequence = np.array([0, 1], dtype=np.int64)
        self._workers = Workers(lowered, form_teams(1, n_threads, cores().usable, program.n_parameters), n_threads)
        self._lowered = lowered
        offset = lowered.plan.values["logits"]
        self.logits = self._workers.arenas[0][offset : offset + program.vocab_size]  # (V,) after the last token fed
        self._n = 0
        self._executor = kernels.executor.Executor(
            at(lowered.ops), len(lowered.ops), at(lowered.packings), len(lowered.packings),
            at(self._workers.records), n_threads, program.n_trainable, at(self._packed),
        )
        self._executor.pack(kernels.address(parameters))

    def feed(self, tokens: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Append tokens; returns the logits (V,) of what comes next, valid until the next call.

        Where the block is full the oldest tokens are forgotten. Positions are learned, so all that remain are
        computed anew at their new places. Raises DataError for an id that the model does not have; then it knows
        what it knew before or, where the block was full, nothing.
        """
        known = self._tokens[: self._n]
        extended = np.concatenate([known, np.asarray(tokens, dtype=np.int32)])
        kept = extended[-self.block_size :]
        first = self._n if len(kept) == len(extended) else 0
        self._tokens[: len(kept)] = kept
        self._n = first  # what is still known if the call does not end well
        self._executor.set_batch(
            at(self._tokens), 0, 0, 0, at(self._sequence), 0, 0, 1, len(kept), first, 0, 0
        )
        status = self._executor.run(False)
        if status == REFUSED:
            raise self._lowered.refusal(int(self._workers.records["op"][0]), self._executor.refused)
        refuse_status(status, "decoder", self._program)
        self._n = len(kept)
        return self.logits
