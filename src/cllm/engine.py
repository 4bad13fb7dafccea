"""Program x batch -> gradient: shards on threads, and a reducer that combines what they found.

A step crosses into compiled code a fixed number of times, whatever the number of layers and shards. One thread
runs one shard at a time, with its own activations, scratch and gradients, or a team of threads does (teams.py); which
thread runs which shard, and how many there are, changes no bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, faults, kernels
from cllm.binding import Batch, Binding
from cllm.bounded import check_memory
from cllm.disorder import Disorder, Executor, check_executor, keeps_every_shard
from cllm.env import MOST_THREADS
from cllm.errors import DataError, KernelError, UsageError, count
from cllm.floats import standard_floats
from cllm.kernels import at
from cllm.lockstep import NamedRows, goes_in_lockstep
from cllm.lowering import lower, sizes
from cllm.memory import engine_memory
from cllm.meter import region
from cllm.opened import OpenedReducer, open_reducer
from cllm.outcomes import REFUSED, Gradient, ReducerFailed, called, merge_slice, refuse_status
from cllm.program import Program
from cllm.ranks.agreement import Ranks
from cllm.ranks.meeting import Meeting
from cllm.recording import Recording, recording
from cllm.reduction import Subtree, chain, count_shards, fold_present, mean_losses, shard_boundaries
from cllm.share import ALONE
from cllm.workers import GradientMemory, Workers

if TYPE_CHECKING:
    from cllm.hooks.protocols import FoldReducer, GatherReducer, Reducer

Float32 = NDArray[np.float32]

SLICE = 1 << 16  # parameters that a gather reducer sees at a time: its temporaries stay in cache


class Engine:
    """Runs one Program over batches of one shape, on as many threads as one likes; alone or as one rank."""

    def __init__(
        self, program: Program, batch_size: int, n_threads: int, *,
        micro_batch_size: int | None = None, seed: int = 0, share_memory: bool = True,
        threads_per_shard: int | None = None, reducer: Reducer | None = None, lockstep: bool | None = None,
        executor: Executor = "fused", order_seed: int = 0, ranks: Ranks | None = None,
    ) -> None:
        """reducer: the one that will be asked for, None for the built-in one. lockstep: None: lockstep.py decides.

        executor: in which order threads and shards come (disorder.py), which changes no bit; order_seed: of its draws.
        ranks: the processes that share the work, each of which then makes the same calls: of a training Program each
        runs its share of the shards, of an evaluating one its share of the batches.
        """
        check_executor(executor)
        if not 1 <= n_threads <= MOST_THREADS:
            raise UsageError("engine", f"{n_threads} threads", f"1 to {MOST_THREADS}", "use one for each core")
        self.program, self.seed, self.n_threads = program, seed, n_threads
        self._micro_batch_size = micro_batch_size
        self._alone: Engine | None = None
        self._opened: tuple[Reducer, OpenedReducer | None] | None = None  # the reducer of the last step
        self._ranks = ranks if ranks is not None and ranks.n_ranks > 1 else None
        self.share = ALONE if ranks is None else ranks.share if program.mode == "train" else ranks.share.whole
        self.n_shards = count_shards(batch_size, program.block_size, micro_batch_size)
        self._first, self._last = self.share.shards(self.n_shards)
        n_own, roots = self._last - self._first, self.share.roots(self.n_shards)
        most_sequences = -(-batch_size // self.n_shards)
        rows, time = most_sequences * program.block_size, program.block_size
        self.teams = self.share.teams(self.n_shards, n_threads, program.n_trainable, threads_per_shard)
        arena = sizes(program, rows, time).arena
        pays = len(roots) == 1 and goes_in_lockstep(program, self.teams, n_own, arena, reducer)
        self.lockstep = pays if lockstep is None else lockstep
        # In lockstep shards are counted from 0, for the executor has rooms for those before the first, too.
        self._base = self._first if self.lockstep else 0
        self.teams = [replace(t, first=t.first - self._base, last=t.last - self._base) for t in self.teams]
        self.lowered = lower(program, rows, time, share_memory, n_own if self.lockstep else 0)
        memory = engine_memory(
            program, batch_size, self.teams, micro_batch_size, reducer, self.lowered.sizes, executor=executor,
            share=self.share,
        )
        check_memory(memory, f"{program.n_parameters:,} parameters, {count(n_threads, 'thread')}")
        self.boundaries = np.array(shard_boundaries(batch_size, program.block_size, micro_batch_size), dtype=np.int64)
        self._workers = Workers(self.lowered, self.teams, n_threads)
        self._packed = aligned.empty(self.lowered.packed_size)
        self._losses = np.empty((batch_size, program.block_size), dtype=np.float32)
        self._shard_loss, self._shard_weight = np.zeros(self.n_shards), np.zeros(self.n_shards)
        self._gradients = GradientMemory(self._workers, self.teams, program.n_trainable, roots)
        trains = self._ranks is not None and program.mode == "train"
        self._meeting = Meeting(self._ranks, self.n_shards, program.n_trainable) if self._ranks and trains else None
        self.norms = kernels.Norms(program.parameters)  # of the last gradient
        self._executor = kernels.executor.Executor(
            at(self.lowered.ops), len(self.lowered.ops), at(self.lowered.packings), len(self.lowered.packings),
            at(self._workers.records), n_threads, program.n_trainable, at(self._packed),
            at(self.lowered.ranges) if self.lowered.ranges is not None else 0, self.lockstep,
            kernels.sum_address(),
        )
        self._binding = Binding(
            self._executor, program.block_size, seed, self._losses, self.boundaries, self._shard_loss,
            self._shard_weight, self._base,
        )
        faults.arm(self._executor, program, self.boundaries)
        self._scatters = keeps_every_shard(executor)
        self._disorder = Disorder(executor, order_seed, n_threads, self.n_shards) if executor != "fused" else None

    @property
    def sharing(self) -> tuple[int, ...]:
        """Of each thread, how many share its shards, itself included; 1 where it has none."""
        sizes = [1] * self.n_threads
        for team in self.teams:
            sizes[team.leader : team.leader + team.n_members] = [team.n_members] * team.n_members
        return tuple(sizes)

    @property
    def shard_rows(self) -> tuple[int, ...]:
        """Tokens of each shard."""
        return tuple(int(n) * self.program.block_size for n in np.diff(self.boundaries))

    @standard_floats()
    def gradient(
        self, parameters: Float32, batch: Batch, reducer: Reducer, without: Collection[int] = ()
    ) -> Gradient:
        """The gradient of the mean token loss of one batch at `parameters` (P,), shards combined by `reducer`.

        without: shards that are left out, though not all: the mean is that of the others. Raises Interrupted after
        `stop`, ReducerFailed, and whatever a Python signal handler raises.
        """
        if without and self.lockstep:
            return self._one_by_one().gradient(parameters, batch, reducer, without)
        compiled = called(self._open, reducer)
        if self.lockstep and not (compiled and compiled.kind == "fold"):
            raise KernelError(
                "engine", f"the reducer {type(reducer).__name__}", "a compiled fold, for which it was made",
                "give the engine its reducer when it is made",
            )
        begin = perf_counter()
        self._bind(batch)
        present = [shard for shard in range(self.n_shards) if shard not in without]
        if without:  # or every shard writes its own
            self._shard_loss[:], self._shard_weight[:] = 0.0, 0.0
        usable: Any = compiled or reducer
        if self._meeting is not None:
            total = self._among_ranks(parameters, usable, present)
        elif reducer.kind == "gather":
            total = self._gather(parameters, usable, present)
        elif compiled and not without:
            total = self._fold_inside(parameters, compiled)
        else:
            total = self._fold_outside(parameters, usable, present)
        return self._outcome(total, perf_counter() - begin)

    def shard_gradient(self, parameters: Float32, batch: Batch, shard: int) -> Float32:
        """The gradient (P,) of the sum of one shard's token losses, computed alone; valid until the next such call."""
        engine = self._one_by_one()
        engine._bind(batch)
        engine._pack(parameters)
        row = engine._gradients.spare()
        engine._run_wave([shard], [row])
        engine._gradients.free(row)
        return row

    def _outcome(self, total: Float32, seconds: float) -> Gradient:
        losses, weights = self._shard_loss.tolist(), self._shard_weight.tolist()
        weight_sum = self._weight_sum()
        loss = chain(losses) / weight_sum
        return Gradient(
            total, self.norms.whole(), loss, weight_sum, mean_losses(losses, weights), tuple(weights), seconds
        )

    @standard_floats()
    def losses(self, parameters: Float32, batches: Sequence[Batch] | Any) -> tuple[float, float]:
        """Sum of the weighted token losses and of the weights over batches, forward only; the Program evaluates."""

        def sums(batch: Batch) -> list[float]:
            self._bind(batch)
            self._workers.take_runs()
            self._run(backward=False)
            return [*self._shard_loss.tolist(), *self._shard_weight.tolist()]

        self._pack(parameters)
        loss = weight = 0.0
        each, n = 2 * self.n_shards, self.n_shards
        found = self._ranks.divided("evaluation", batches, sums, each) if self._ranks else map(sums, batches)
        for one in found:
            loss = chain(one[:n], loss)
            weight = chain(one[n:], weight)
        return loss, weight

    def recording(self, n_steps: int) -> AbstractContextManager[Recording]:
        """While inside, every thread writes down what it does; room for n_steps training steps."""
        # A shard passes every op twice and is folded at most once, in lockstep after every op; packing and meeting
        # come on top, in lockstep for every op.
        most = max(team.last - team.first for team in self.teams) + 1
        return recording(self._workers.records, n_steps * most * (3 * len(self.program.ops) + 3))

    @property
    def workers(self) -> NDArray[Any]:
        """The threads' records (WORKER), in which they write while they run."""
        return self._workers.records

    def stop(self) -> None:
        """Ask the running call, or the next one, to end soon with Interrupted; from a handler or another thread."""
        self._executor.stop()

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has been asked for that no call has met yet."""
        return self._executor.stopping()

    def clear(self) -> None:
        """Forget a stop that no call has met."""
        self._executor.clear()

    def alone(self) -> Engine:
        """An engine that runs all shards in this process: itself, or one that is made now. Raises MemoryLimitError."""
        if self._meeting is None:
            return self
        return Engine(
            self.program, int(self.boundaries[-1]), self.n_threads, micro_batch_size=self._micro_batch_size,
            seed=self.seed, lockstep=False,
        )

    # --- the three ways of combining ---------------------------------------------------------------------------

    def _open(self, reducer: Reducer) -> OpenedReducer | None:
        """Its compiled side, which is opened when it first comes."""
        if self._opened is None or self._opened[0] is not reducer:
            self._opened = reducer, open_reducer(reducer, f"the reducer {type(reducer).__name__}")
        return self._opened[1]

    def _fold_inside(self, parameters: Float32, reducer: OpenedReducer) -> Float32:
        """A compiled fold: all in one call."""
        if self.lockstep:
            self._name_rows(self._gradients.for_lockstep(self.program, self._losses.size))
        elif self._scatters:
            self._gradients.for_scattered_folds()
        else:
            self._gradients.for_folds(self.program)
        self._draw(folds=True)
        total, pairs = self._gradients.folded[0], self._gradients.pairs
        matrices, n_matrices, sums = self.norms.room
        if self._meeting is not None:  # a total that is none yet is not divided
            n_matrices = 0
        with region(self.n_threads) as busy:
            status = self._executor.fold(
                kernels.address(parameters, who="engine"), reducer.address, at(pairs), len(pairs), at(total),
                matrices, n_matrices, sums, busy,
            )
        self._refuse(status, reducer)
        return total

    def _fold_outside(self, parameters: Float32, reducer: FoldReducer, present: Sequence[int]) -> Float32:
        """A fold in Python: shards in parallel, as many as there are teams, then the same tree by its merges."""
        (total,) = self._fold_roots(parameters, reducer, present, self.share.roots(self.n_shards))
        called(reducer.finish, total, len(present))
        self._divide(total)
        return total

    def _fold_roots(
        self, parameters: Float32, reducer: FoldReducer, present: Sequence[int], roots: Sequence[Subtree]
    ) -> list[Float32]:
        """Of each root in which a shard is present, its gradient, until the next call."""
        self._pack(parameters)
        buffers, ready = self._gradients, dict[int, Float32]()

        def make(shard: int) -> Float32:
            if shard not in ready:
                first = present.index(shard)
                wave = present[first : first + len(self.teams)]
                ready.update({one: buffers.spare() for one in wave})
                self._run_wave(wave, [ready[one] for one in wave])
            return ready.pop(shard)

        def merge(left: Float32, right: Float32) -> Float32:
            called(reducer.merge, left, right)
            buffers.free(right)
            return left

        parts = [[shard for shard in present if shard in root.shards] for root in roots]
        found = [fold_present(part, make, merge) for part in parts if part]
        self._workers.take_runs()
        for row in found:
            buffers.free(row)
        return found

    def _gather(self, parameters: Float32, reducer: GatherReducer, present: Sequence[int]) -> Float32:
        """The shards' gradients side by side, combined over slices of the parameters."""
        check_memory(
            {"gradients of all shards": 4 * self.n_shards * self.program.n_trainable},
            f"a gather reducer over {count(self.n_shards, 'shard')}",
        )
        rows, total = self._side_by_side(parameters, present)
        self._combine(reducer, present, rows, total)
        self._divide(total)
        return total

    def _side_by_side(self, parameters: Float32, present: Sequence[int]) -> tuple[Float32, Float32]:
        """The gradients (S, P) of these shards of this process, and room (P,) for what they are combined into."""
        self._pack(parameters)
        rows, total = self._gradients.for_gathers(self._last - self._first)
        rows, n_teams = rows[: len(present)], len(self.teams)
        if len(present) == self._last - self._first:
            runs = [rows[team.first - self._first : team.last - self._first] for team in self.teams]
            self._workers.take_runs([[at(row) for row in run] for run in runs])
            self._run(backward=True)
        else:
            for first in range(0, len(present), n_teams):
                self._run_wave(present[first : first + n_teams], list(rows[first : first + n_teams]))
        return rows, total

    def _combine(
        self, reducer: GatherReducer | OpenedReducer, present: Sequence[int], rows: Float32, out: Float32,
        first: int = 0,
    ) -> None:
        """out (n,) OUT from rows (S, n) of the shards present, piece by piece; first: its place in the parameters."""
        weights = self._shard_weight[present]
        if isinstance(reducer, OpenedReducer):
            called(reducer.combine, rows, weights, out, first, n_threads=self.n_threads)
            return
        for begin in range(0, out.size, SLICE):
            called(reducer.combine, rows[:, begin : begin + SLICE], weights, out[begin : begin + SLICE])

    # --- with other processes ----------------------------------------------------------------------------------

    def _among_ranks(self, parameters: Float32, reducer: Any, present: Sequence[int]) -> Float32:
        """This process computes its shards; the total is that of all, the same on every rank."""
        assert self._meeting is not None and self._ranks is not None
        own, rows = slice(self._first, self._last), list[Float32]()

        def compute() -> Sequence[float]:
            rows[:] = self._own_rows(parameters, reducer, [s for s in present if self._first <= s < self._last])
            return [*self._shard_loss[own].tolist(), *self._shard_weight[own].tolist()]

        for (first, last), word in zip(self._meeting.runs, self._ranks.together("gradient", compute), strict=True):
            self._shard_loss[first:last] = word.numbers[: last - first]
            self._shard_weight[first:last] = word.numbers[last - first :]
        if reducer.kind == "gather":
            _, total = self._gradients.for_gathers(self._last - self._first)
            self._meeting.gather(rows, present, total, partial(self._combine, reducer, present))
        else:
            total = rows[0] if rows else self._gradients.lent()
            self._meeting.fold(rows, present, total, partial(merge_slice, reducer))
            called(reducer.finish, total, len(present))
        self._divide(total)
        return total

    def _own_rows(self, parameters: Float32, reducer: Any, own: Sequence[int]) -> Sequence[Float32]:
        """What this process brings to the others: its roots, or for a gather the gradients of its shards."""
        if not own:
            return []
        if reducer.kind == "gather":
            return list(self._side_by_side(parameters, own)[0])
        if isinstance(reducer, OpenedReducer) and len(own) == self._last - self._first:
            self._fold_inside(parameters, reducer)
            return self._gradients.folded
        return self._fold_roots(parameters, reducer, own, self.share.roots(self.n_shards))

    # --- shards alone ------------------------------------------------------------------------------------------

    def _one_by_one(self) -> Engine:
        """An engine that can run shards alone: this one, or in lockstep another one, made when first asked for."""
        if not self.lockstep:
            return self
        if self._alone is None:
            self._alone = Engine(
                self.program, int(self.boundaries[-1]), self.n_threads, micro_batch_size=self._micro_batch_size,
                seed=self.seed, lockstep=False, ranks=self._ranks,
            )
            self._alone.norms = self.norms
        return self._alone

    def _run_wave(self, shards: Sequence[int], rows: Sequence[Float32]) -> None:
        """At most as many shards as there are teams, each into a gradient (P,)."""
        self._workers.take_one_each(shards, [at(row) for row in rows])
        self._run(backward=True)

    # --- one call into compiled code ---------------------------------------------------------------------------

    def _bind(self, batch: Batch) -> None:
        if kernels.CHECKED:
            self._workers.poison()
            self._gradients.poison()
        self._binding(batch)

    def _name_rows(self, named: NamedRows | None) -> None:
        """Tell the executor which rows of a tied embedding the bound batch's tokens name."""
        if named is not None:
            named.name(self._binding.inputs)
            self._executor.set_rows(
                at(named.renumbered), at(named.rows), len(named.rows), at(named.memory), named.shard_size
            )

    def _draw(self, folds: bool = False) -> None:
        """The order of the next call, where it is not the usual one."""
        if self._disorder is not None:
            in_order = folds and not self._scatters and not self.lockstep
            self._disorder.draw(self._executor, self._workers, in_order)

    def _run(self, backward: bool) -> None:
        self._draw()
        with region(self.n_threads) as busy:
            status = self._executor.run(backward, busy)
        self._refuse(status)

    def _refuse(self, status: int, reducer: OpenedReducer | None = None) -> None:
        """Raise what a status stands for, unless it is DONE: of code of another package, an op's or the reducer's."""
        if status != REFUSED:
            return refuse_status(status, "engine", self.program)
        for record in self._workers.records[self._workers.records["status"] == REFUSED]:
            raise self.lowered.refusal(int(record["op"]), self._executor.refused)
        assert reducer is not None
        error = reducer.refusal(self._executor.refused)
        raise ReducerFailed(str(error)) from error

    def _pack(self, parameters: Float32) -> None:
        self._draw()
        with region(self.n_threads) as busy:
            self._executor.pack(kernels.address(parameters, who="engine"), busy)

    def _divide(self, total: Float32) -> None:
        """From the sum over tokens to the mean, with its norms, where no compiled fold has done it."""
        kernels.scale(total, 1.0 / self._weight_sum(), self.n_threads)
        self.norms.compute(total, self.n_threads)

    def _weight_sum(self) -> float:
        weight = chain(self._shard_weight.tolist())
        if not weight > 0.0:
            raise DataError("engine", "a batch without a counted token", "at least one", "check the data's targets")
        return weight
