"""Where gradients lie, op by op: a tied embedding is recognised, and rooms in the total are free when they are used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cllm.ranges import FIRST_USER, NOWHERE, OTHER_USER, OWN, Range, parameter_ranges, rooms_in_total
from tests.models import CONFIGS, build, shape


def test_a_tied_embedding_is_the_one_thing_shared() -> None:
    program = build(shape(), "train")
    ranges = parameter_ranges(program)
    assert ranges is not None
    embedding, head = ranges[0], ranges[-1]
    assert (embedding.use, head.use) == (FIRST_USER, OTHER_USER)
    assert (embedding.first, embedding.last) == (head.first, head.last) == (0, 37 * 20)
    assert embedding.row == head.row == 20
    assert {(r.use, r.row) for r in ranges[1:-1]} == {(OWN, 0)}
    assert sum(r.size for r in ranges[:-1]) == program.n_trainable


def test_parameters_that_cannot_be_merged_op_by_op() -> None:
    program = build(shape(), "train")
    frozen = replace(program.table["transformer.h.0.ln_1.bias"], offset=10**6)
    program.table["transformer.h.0.ln_1.bias"] = frozen
    assert parameter_ranges(program) is None


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("n_levels", [0, 1, 2, 5])
def test_rooms_in_the_total_are_yet_to_be_written(name: str, n_levels: int) -> None:
    program = build(shape(**CONFIGS[name]), "train")
    ranges = parameter_ranges(program)
    assert ranges is not None
    rooms = rooms_in_total(ranges, n_levels, program.n_trainable)
    for index, (range_, room) in enumerate(zip(ranges, rooms, strict=True)):
        if room != NOWHERE:
            taken = set(range(room, room + n_levels * range_.size))
            assert taken <= set(range(program.n_trainable))
            for written in ranges[index:]:  # by itself and the ops behind it, whose backward came before
                assert not taken & set(range(written.first, written.last))
    assert any(room != NOWHERE for room in rooms)


def test_a_room_is_found_wherever_there_is_one() -> None:
    ranges = [Range(0, 64), Range(64, 70), Range(70, 200), Range(200, 232)]
    # Of the last, six levels fit between 0 and 200; in front of the first nothing is free.
    assert [rooms_in_total(ranges, n, 232)[3] for n in (2, 6, 7)] == [0, 0, NOWHERE]
    assert rooms_in_total(ranges, 1, 232)[:3] == [NOWHERE, 0, NOWHERE]
    assert rooms_in_total([*ranges, Range(0, 0)], 1, 300) == [NOWHERE, 0, NOWHERE, 0, NOWHERE]
