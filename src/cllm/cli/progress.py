"""How far a command has come, on a terminal alone: by rich where it is installed, else a line written over and over."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType

from cllm.figures import duration, rate
from cllm.hooks.protocols import Document
from cllm.screen import screen_of

_EVERY_SECONDS = 0.2
_LOOKED_AT = 64  # pieces between two looks at the clock, unless they are long
_LONG = 1 << 14  # characters


class Progress:
    """Counts what passes: documents, characters, tokens, and how fast. A context; silent where nobody watches."""

    def __init__(self) -> None:
        self._n_documents = self._n_characters = self._n_tokens = 0
        self._n_unseen = 0
        self._begin = self._told = monotonic()
        self._screen = screen_of(sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.close(keep=False)

    def tell(self, message: str) -> None:
        """A line that stays."""
        self._screen.stay(f"cllm: {message}")

    def watch(self, document: Document, n_tokens: int) -> None:
        """A document, or its piece, has passed."""
        self._n_documents += not document.continues
        self._n_characters += len(document.text)
        self._n_tokens += n_tokens
        self._n_unseen += 1 if len(document.text) < _LONG else _LOOKED_AT
        if not self._screen.is_terminal or self._n_unseen < _LOOKED_AT:
            return
        self._n_unseen = 0
        now = monotonic()
        if now - self._told >= _EVERY_SECONDS:
            self._told = now
            self._screen.show(self.line(now - self._begin))

    def line(self, seconds: float) -> str:
        """What has passed after so many seconds."""
        columns = (
            f"{self._n_documents:,} documents", f"{self._n_characters:,} characters", f"{self._n_tokens:,} tokens",
            f"{rate(self._n_characters / max(seconds, 1e-3))} characters/s", duration(seconds),
        )
        return "  ".join(columns)
