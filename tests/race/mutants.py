"""Seeded races: mistakes in the real sources, of the kinds that are made, each of which the race suite has to catch.

    python -m tools.mutants

A mutant replaces texts of one file, each of which must occur there exactly once: one that has lost its place is an
error and no success. None is a mistake in arithmetic, and on one thread nearly all compute the right bits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One mistake in one file below src/cllm."""

    name: str
    file: str
    changes: tuple[tuple[str, str], ...]  # old text, new text
    kernels: tuple[str, ...] = ("executor",)  # what is built again; of a Python file nothing


TEAM, STEP, WORK = "_kernels/team.h", "_kernels/step.pxd", "_kernels/work.pxd"
EXECUTOR, LOCKSTEP, LOSS = "_kernels/executor.pyx", "_kernels/lockstep.pxd", "_kernels/loss.pyx"
MEET = "status = meet_team(step, own, DONE)\n"
COMES = "__atomic_add_fetch(&m->n_come, 1, __ATOMIC_ACQ_REL)"
CLEARED, RELEASED = "        m->n_come = 0;\n", "        __atomic_store_n(&m->round, round + 1, __ATOMIC_RELEASE);\n"

MEETINGS = (
    Mutant("a team that does not meet", TEAM, (("if (n == 1) return status;", "if (n >= 1) return status;"),)),
    Mutant("a meeting that ends when all but one have come", TEAM, ((f"{COMES} == n)", f"{COMES} >= n - 1)"),)),
    Mutant("who waits does not see what others wrote before they came", TEAM, (
        ("&m->round, __ATOMIC_ACQUIRE) == round; i++", "&m->round, __ATOMIC_RELAXED) == round; i++"),
    )),
    Mutant("the last to come does not publish that all have", TEAM, (
        (RELEASED, RELEASED.replace("RELEASE", "RELAXED")),
    )),
    Mutant("who comes does not publish its part", TEAM, ((COMES, COMES.replace("ACQ_REL", "RELAXED")),)),
    Mutant("comers are counted without an atomic", TEAM, ((COMES, "++m->n_come"),)),
    Mutant("the counter is cleared when the others have been let go", TEAM, (
        (CLEARED + RELEASED, RELEASED + CLEARED),
    )),
)
BARRIERS = (
    Mutant("no meeting between two ops", WORK, (
        ("status = meet_team(step, own, status)\n",
         "status = meet_team(step, own, status) if status != DONE else DONE\n"),
    )),
    Mutant("a range merged before all have met", WORK, (
        ("status = meet_team(step, own, status)\n",
         "status = meet_team(step, own, status) if status != DONE or not backward else DONE\n"),
    )),
    Mutant("a room used again before all have merged it", EXECUTOR, (
        (f"<float *>shard.base[GRADIENT])\n            {MEET}", "<float *>shard.base[GRADIENT])\n"),
    )),
    Mutant("the whole merged while shared ranges still are", EXECUTOR, (
        (f"        # Whoever merges the whole next has other slices.\n        {MEET}", ""),
    )),
    Mutant("no meeting between packing and products in lockstep", LOCKSTEP, (
        (f"        {MEET}        if status == DONE:\n", "        status = DONE\n        if status == DONE:\n"),
    )),
    Mutant("a level written again before all have merged it", LOCKSTEP, (
        (f"by the next shard's backward.\n            {MEET}", "by the next shard's backward.\n"),
    )),
    Mutant("nowait between packing and the shards", EXECUTOR, (
        ("                    pack_part(&self.step, worker_of(&self.step, t), n)\n", "                    pass\n"),
        ("    await_turn(step, w)\n",
         "    await_turn(step, w)\n    if step.reducer != NULL and not step.lockstep:\n"
         "        pack_part(step, w, step.n_workers)\n"),
    )),
    Mutant("nowait between the shards and their meeting", EXECUTOR, (
        ('            if n_pairs:\n                for t in prange(n, schedule="static", chunksize=1):\n'
         "                    meet_part(", "                if n_pairs:\n                    meet_part("),
    )),
)
MEMORY = (
    Mutant("one scratch for a team", STEP, (("step.workers[worker].scratch", "leader.scratch"),)),
    Mutant("what phases share is each thread's own", STEP, (
        ("shard.shared = leader.scratch", "shard.shared = step.workers[worker].scratch"),
    )),
    Mutant("scratch by thread, of which each has half", "workers.py", (
        ("aligned.empty(lowered.scratch_size)", "aligned.empty(lowered.scratch_size * n_threads)"),
        ("at(self._scratch[-1])", "at(self._scratch[0]) + 2 * (team.leader + member) * lowered.scratch_size"),
    ), ()),
    Mutant("all teams work in one arena", "workers.py", (("at(self.arenas[-1])", "at(self.arenas[0])"),), ()),
    Mutant("all shards work in one arena in lockstep", STEP, (
        (" + (s - leader.first_shard) * leader.arena_step", ""),
    )),
    Mutant("all teams have one room for merging op by op", "workers.py", (
        ("[at(level) for level in self._levels]", "[at(self._levels[0]) for _ in self._levels]"),
    ), ()),
)
SHARES = (
    Mutant("a run that goes on into the next team's first shard", EXECUTOR, (
        ("    for turn in range(leader.first_shard, leader.last_shard):\n",
         "    for turn in range(leader.first_shard, min(leader.last_shard + 1, step.n_shards)):\n"),
    )),
    Mutant("a row that two parts normalise", "_kernels/norm.pyx", (
        ("                     shard.first + part_begin(rows, 1, part + 1, n_parts)):\n",
         "                     shard.first + min(rows, part_begin(rows, 1, part + 1, n_parts) + 1)):\n"),
    ), ("norm",)),
    Mutant("parts that add to the same rows of the embedding", "_kernels/embedding.pyx", (
        ("begin = part_begin(c, 16, part, n_parts), end = part_begin(c, 16, part + 1, n_parts)\n    cdef const int32_t",
         "begin = 0, end = c\n    cdef const int32_t"),
        ("    for row in range(rows):\n        add_to(",
         "    for row in range(rows * part // n_parts, rows * (part + 1) // n_parts):\n        add_to("),
    ), ("embedding",)),
    Mutant("packing shared by one part too many", EXECUTOR, (
        ("p.source, size, step.n_parameters, part + 1, n_parts),",
         "p.source, size, step.n_parameters, part + 1, n_parts + 1),"),
    )),
    Mutant("columns of the total that two parts scale", EXECUTOR, (
        ("squares_of_part(total, &scale, matrices, n_matrices, sums, part, n_parts)",
         "squares_of_part(total, &scale, matrices, n_matrices, sums, max(part - 1, 0), n_parts)"),
    )),
    Mutant("slices of a member that reach into the next one's", WORK, (
        ("part_begin(n, 16, own.member + 1, own.n_parts)",
         "part_begin(n, 16, min(own.member + 2, own.n_parts), own.n_parts)"),
    )),
    Mutant("slices of the update that overlap", "_kernels/optimizer.pyx", (
        ("s, part + 1, n_parts) - begin\n", "s, min(part + 2, n_parts), n_parts) - begin\n"),
    ), ("optimizer",)),
    Mutant("columns of the norm that two parts sum", "_kernels/finite.pyx", (
        ("matrices, n_matrices, sums, part, n_parts)", "matrices, n_matrices, sums, max(part - 1, 0), n_parts)"),
    ), ("finite",)),
    Mutant("every member sums up the shard", EXECUTOR, (
        ("    if own.member == 0:\n        sum_up(", "    if own.member >= 0:\n        sum_up("),
    )),
    Mutant("a chunk's end is written where its beginning is read", LOSS, (
        ("begin = chunk.next[number & 1] if", "begin = chunk.next[0] if"),
        ("chunk.next[(number + 1) & 1] = end", "chunk.next[0] = end"),
    ), ("loss",)),
    Mutant("rows gathered again while others read them", LOSS, (
        ("    elif phase == GRADIENTS:\n", "    elif phase == GRADIENTS:\n        gather(&chunk, op, shard)\n"),
    ), ("loss",)),
    Mutant("logits of rows that others still gather", LOSS, (
        ("        gather(&chunk, op, shard)\n        if adds_to",
         "        gather(&chunk, op, shard)\n        make_logits(&chunk, op, shard, part, n_parts)\n"
         "        if adds_to"),
    ), ("loss",)),
)
MUTANTS = (*MEETINGS, *BARRIERS, *MEMORY, *SHARES)
# What wrong bits alone give away, with a build of the executor and no sanitizer.
SHORT = tuple(mutant for mutant in MUTANTS if mutant.name in (
    "no meeting between two ops", "one scratch for a team", "all teams work in one arena",
    "nowait between packing and the shards",
))
