"""`cllm watch` as a process of its own, and what it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

PROGRAM = "import sys; from cllm.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Watch:
    """A server that answers."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.split(":")[2].partition("/")[0])

    @property
    def token(self) -> str:
        return self.address.partition("token=")[2]

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
        """The answer and its text; a header Host replaces the usual one."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def now(self, seen: int | str = "") -> dict[str, Any]:
        """What the page's script would be told that has seen this version."""
        answer, text = self.ask(f"/now?token={self.token}&seen={seen}")
        assert answer.status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found


@contextmanager
def watching(*runs: Path, words: tuple[str, ...] = ()) -> Iterator[Watch]:
    """The command, as long as one is inside."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "watch", *map(str, runs), *words], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            said = process.stdout.readline()
            assert said.startswith("watch: http://127.0.0.1:"), said + process.stderr.read()
            yield Watch(process, said.removeprefix("watch: ").strip())
        finally:
            process.kill()
