"""A real headless Chromium, without root and without what a machine must have installed: for trying levmon's own pages.

`npm_browser/package-lock.json` pins the browser, the libraries that a bare machine lacks, Playwright's client and axe;
they go into the cache beside the contracts. Linux on x86-64 only; anywhere else, and where it will not start, it is an
error that says so. Knows nothing of the pages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from monitor.testing.artifacts import HERE, ProvisionFailed, locked, node, provision

PINNED = HERE / "npm_browser"


class BrowserFailed(Exception):
    """A command did not do what it should; the message is the browser's."""


class Browser:
    """One browser with one page. Use as a context."""

    def __init__(self) -> None:
        """May raise: ProvisionFailed."""
        if sys.platform != "linux" or os.uname().machine != "x86_64":
            raise ProvisionFailed("the browser of the tests runs on Linux on x86-64 only")
        modules = provision(PINNED, "browser: installing Chromium, Playwright's client and axe")
        unpacked = modules.parent / "unpacked"
        unpacked.mkdir(exist_ok=True)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the browser
        with locked(modules.parent / "unpacking.lock"):  # one unpacks, the others find it there
            self._process = subprocess.Popen(
                [node(), str(PINNED / "driver.mjs"), str(modules), str(unpacked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
            try:
                self.version = str(self._read()["version"])
            except BrowserFailed as failed:
                self.close()
                raise ProvisionFailed(f"Chromium did not start: {failed}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; the driver ends the browser when nobody is there to ask."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            self._said.seek(0)
            raise BrowserFailed(self._said.read().decode(errors="replace")[-1500:] or "it ended without a word")
        told: dict[str, Any] = json.loads(line)
        return told

    def ask(self, command: str, **given: Any) -> Any:
        """One command of the driver. May raise: BrowserFailed."""
        if self._process.stdin is None:
            raise BrowserFailed("it is closed")
        self._process.stdin.write(json.dumps({"command": command, **given}).encode() + b"\n")
        self._process.stdin.flush()
        told = self._read()
        if "error" in told:
            raise BrowserFailed(f"{command}: {told['error']}")
        return told["answer"]

    # -- the commands ------------------------------------------------------------------------------------------------

    def open(self, *, width: int = 1280, height: int = 900, scheme: str = "light", scripts: bool = True) -> None:
        """A new page without a past."""
        self.ask("open", width=width, height=height, scheme=scheme, scripts=scripts)

    def goto(self, url: str) -> int:
        """The status."""
        return int(self.ask("goto", url=url))

    def text(self, selector: str) -> str:
        return str(self.ask("text", selector=selector))

    def texts(self, selector: str) -> list[str]:
        return list(self.ask("texts", selector=selector))

    def links(self) -> list[str]:
        return list(self.ask("links"))

    def click(self, selector: str) -> None:
        self.ask("click", selector=selector)

    def fill(self, selector: str, value: str) -> None:
        self.ask("fill", selector=selector, value=value)

    def press(self, *keys: str) -> None:
        self.ask("press", keys=keys)

    def run(self, code: str) -> Any:
        """JavaScript in the page."""
        return self.ask("run", code=code)

    def until(self, code: str, within_ms: int) -> None:
        """Until the JavaScript is true. May raise: BrowserFailed, after so long."""
        self.ask("until", code=code, within_ms=within_ms)

    def shot(self, path: Path) -> None:
        """The whole page as a PNG."""
        self.ask("shot", path=str(path))

    @property
    def url(self) -> str:
        return str(self.ask("url"))

    @property
    def wrong(self) -> list[str]:
        """What the page's console has told as errors since it was opened."""
        return list(self.ask("wrong"))

    def violations(self, impacts: Sequence[str] = ("serious", "critical")) -> list[dict[str, Any]]:
        """What axe finds of these impacts."""
        return [one for one in self.ask("axe") if one["impact"] in impacts]
