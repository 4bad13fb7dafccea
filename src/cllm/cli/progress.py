"""How far a command has come, on a terminal alone: by rich where it is installed, else a line written over and over."""

from __future__ import annotations

import importlib
import shutil
import sys
from time import monotonic
from types import TracebackType
from typing import Any

from cllm.figures import duration, rate
from cllm.hooks.protocols import Document

_EVERY_SECONDS = 0.2
_LOOKED_AT = 64  # pieces between two looks at the clock, unless they are long
_LONG = 1 << 14  # characters


class Progress:
    """Counts what passes: documents, characters, tokens, and how fast. A context; silent where nobody watches."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._n_documents = self._n_characters = self._n_tokens = 0
        self._n_unseen = self._width = 0
        self._begin = self._told = monotonic()
        self._is_seen = self._stream.isatty()
        self._rich: Any = _rich() if self._is_seen else None

    def __enter__(self) -> Progress:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()
        elif self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()

    def tell(self, message: str) -> None:
        """A line that stays."""
        if self._rich is not None:
            self._rich.console.print(f"cllm: {message}", markup=False, highlight=False)
            return
        start = "\r" + " " * self._width + "\r" if self._width else ""
        self._stream.write(f"{start}cllm: {message}\n")
        self._stream.flush()

    def watch(self, document: Document, n_tokens: int) -> None:
        """A document, or its piece, has passed."""
        self._n_documents += not document.continues
        self._n_characters += len(document.text)
        self._n_tokens += n_tokens
        self._n_unseen += 1 if len(document.text) < _LONG else _LOOKED_AT
        if not self._is_seen or self._n_unseen < _LOOKED_AT:
            return
        self._n_unseen = 0
        now = monotonic()
        if now - self._told >= _EVERY_SECONDS:
            self._told = now
            self._show(self.line(now - self._begin))

    def line(self, seconds: float) -> str:
        """What has passed after so many seconds."""
        columns = (
            f"{self._n_documents:,} documents", f"{self._n_characters:,} characters", f"{self._n_tokens:,} tokens",
            f"{rate(self._n_characters / max(seconds, 1e-3))} characters/s", duration(seconds),
        )
        return "  ".join(columns)

    def _show(self, line: str) -> None:
        if self._rich is not None:
            self._rich.update(line)
            return
        line = line[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)


def _rich() -> Any:
    """rich's line with a spinner on standard error; None where rich is not installed."""
    try:
        console = importlib.import_module("rich.console").Console(stderr=True)
        return importlib.import_module("rich.status").Status("", console=console)
    except ImportError:
        return None
