"""Tables of runs that are given, for terminals and pages."""

from __future__ import annotations

from benchmarks.tables import COLUMNS, markdown, milliseconds, row, size, text
from tests.benchmarks.found import comparison


def test_a_row_has_a_cell_for_every_column() -> None:
    found = comparison()
    assert row(found, found.sides[1]) == [
        "eager", "20.00", "10.00-36.00", "12,800", "50.0", "25%", "2.00x", "0.50-4.00", "40.00", "48 MB", "1.2 s", "?",
    ]
    assert row(found, found.sides[0])[6:8] == ["", ""]
    assert all(len(row(found, side)) == len(COLUMNS) for side in found.sides)


def test_columns_stand_under_their_heads() -> None:
    head, *rows = text(comparison()).split("\n")[:3]
    for name in ("ms a step", "tokens/s", "memory"):
        end = head.index(name) + len(name)
        assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for line in rows), name


def test_what_was_left_out_and_how_quiet_it_was_is_said() -> None:
    quiet, noisy = text(comparison()), text(comparison(quiet=False))
    assert "left out: jax, jax is not installed" in quiet
    assert "before and after: 100.0 and 200.0 GFLOP/s; 3 rounds; 4 more" in quiet and "NOISY" not in quiet
    assert "NOISY" in noisy


def test_markdown_has_command_machine_and_a_table_for_each() -> None:
    page = markdown([comparison(), comparison()], "python -m benchmarks.compare", "A processor, 2 of 2 cores")
    assert page.startswith("`python -m benchmarks.compare`\n\nA processor, 2 of 2 cores\n")
    tables = [line for line in page.split("\n") if line.startswith("| ")]
    assert len(tables) == 2 * 4
    assert {line.count(" | ") for line in tables} == {len(COLUMNS) - 1}
    assert "**XS**: V 100, T 32, L 2, NH 4, C 64, B 8; threads: 2" in page


def test_numbers_are_short_and_say_their_unit() -> None:
    assert [milliseconds(x) for x in (0.0012345, 0.0456, 0.789, 4.2)] == ["1.234", "45.60", "789.0", "4,200.0"]
    assert [size(x) for x in (None, 123_456, 865_000_000)] == ["?", "0.1 MB", "865 MB"]
