"""Files of many records, read line by line in bounded memory, with the number of the line for messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from cllm.data.utf8 import read_utf8
from cllm.errors import DataError, did_you_mean

MAX_RECORD_CHARACTERS = 16 << 20  # of one record, which is held whole
_MOST_NAMES = 50  # that are shown, and compared with one that is not there


class Lines:
    """The lines of a UTF-8 file with their ends, a bounded record at a time.

    `number` is that of the line that came last, from 1 on. A reader whose records have several lines calls
    `begin_record` where one begins.
    """

    def __init__(self, path: Path, who: str) -> None:
        self.path = path
        self.number = 0
        self._who = who
        self._n_characters = 0  # of the record so far

    def __iter__(self) -> Iterator[str]:
        """Raises DataError for what `read_utf8` refuses, and where a record is too long to be held."""
        held = ""
        for piece in read_utf8(self.path, self._who):
            # Not splitlines(), which would also cut at U+2028 and others that may stand within a record.
            *whole, rest = piece.split("\n")
            for line in whole:
                yield self._counted(f"{held}{line}\n")
                held = ""
            held += rest
            self._check_size(len(held))
        if held:
            yield self._counted(held)

    def begin_record(self) -> None:
        self._n_characters = 0

    def error(self, came: str, expected: str, todo: str) -> DataError:
        """A DataError that names the file and the line."""
        return DataError(self._who, f"{self.path}: line {self.number:,}: {came}", expected, todo)

    def no_field(self, name: str, names: Iterable[str], kind: str) -> DataError:
        """The error of a record, or a header, that has no `name`, but `names`, of which there may be any number."""
        shown = list(islice(names, _MOST_NAMES))
        todo = did_you_mean(name, shown, f"set {kind} or template to what there is")
        came = f"no {kind} {name!r}, but {', '.join(map(repr, shown)) or 'none'}"
        return self.error(came, f"a {kind} {name!r}", todo)

    def _counted(self, line: str) -> str:
        self._check_size(len(line))
        self._n_characters += len(line)
        self.number += 1
        return line

    def _check_size(self, n_more: int) -> None:
        if self._n_characters + n_more > MAX_RECORD_CHARACTERS:
            self.number += 1
            came = f"a record of more than {MAX_RECORD_CHARACTERS >> 20} Mi characters"
            raise self.error(came, "smaller records", "split it; it is held in memory whole")
