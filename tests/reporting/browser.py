"""A headless Chromium that a test leads: it opens pages in windows of any size, looks at them and pictures them.

It is spoken to over two pipes (--remote-debugging-pipe): a message is JSON and ends in a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from types import TracebackType
from typing import Any

import pytest

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
PATIENCE = 60.0  # seconds for an answer, on a machine that has much else to do


def found_chromium() -> str:
    """Its path; the test is skipped where there is none, unless CLLM_EXPECT_CHROMIUM=1 says that there is one."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        give_up = pytest.fail if os.environ.get("CLLM_EXPECT_CHROMIUM") == "1" else pytest.skip
        give_up("there is no Chromium: apt-get install chromium")
    return str(found)


class Browser:
    """One window. It knows of no user, and forgets all when it is closed."""

    def __init__(self) -> None:
        path = found_chromium()
        self._profile = TemporaryDirectory(ignore_cleanup_errors=True)
        hears, self._to = os.pipe()
        self._from, says = os.pipe()
        words = [path, *OPTIONS, f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(  # its ends of the pipes are to be the descriptors 3 and 4
            ["bash", "-c", f'exec "$@" 3<&{hears} 4>&{says}', "bash", *words], pass_fds=(hears, says),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(hears)
        os.close(says)
        self._heard, self._numbers, self._session = b"", count(1), ""
        self.turn_to("page")

    def turn_to(self, kind: str) -> None:
        """From here on all is about the page, or an iframe in it that is of another origin."""
        self._session = ""
        target = next(one for one in self.tell("Target.getTargets")["targetInfos"] if one["type"] == kind)
        attached = self.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and what it brings."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:  # events, which nobody has asked for
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            assert select.select([self._from], [], [], PATIENCE)[0], "Chromium does not answer"
            piece = os.read(self._from, 1 << 20)
            assert piece, "Chromium has ended"
            self._heard += piece
        message, _, self._heard = self._heard.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, address: str, width: int, height: int = 900) -> None:
        """A page, in a window of this size, until it is all there."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.tell("Emulation.setDeviceMetricsOverride", mobile=width < 500, **size)
        self.tell("Page.navigate", url=address)
        self.until(f'location.href === {json.dumps(address)} && document.readyState === "complete"')

    def value(self, script: str) -> Any:
        """Of an expression in JavaScript."""
        found = self.tell("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str, seconds: float = PATIENCE) -> Any:
        """The value, as soon as it is true."""
        end = monotonic() + seconds
        while not (found := self.value(script)):
            assert monotonic() < end, f"{script} has not come true in {seconds:g} s"
            self.value("new Promise((done) => setTimeout(done, 50))")
        return found

    def picture(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self.tell("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
