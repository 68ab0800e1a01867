"""Chromium without a window, to use pages in as people do. Tests skip where it is not installed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 60


@contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's Browser: the system's Chromium, else the one that Playwright installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    with api.sync_playwright() as driver:
        path = path or driver.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium is installed here")

        # Chromium has no sandbox for the user root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Opened:
    """A page in a browser. errors: what its program could not do, and what its policy refused.

    wait_until: of Playwright's goto: "commit" begins while the page still comes.
    """

    def __init__(
        self, browser: Any, path: Path, *, wait_until: str = "load", **wishes: Any
    ) -> None:
        context = browser.new_context(**wishes)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: line.type == "error" and self.errors.append(line.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.absolute().as_uri(), wait_until=wait_until)

    def run(self, words: str, value: object = None) -> Any:
        """The value of a function in JavaScript."""
        return self.page.evaluate(words, value)

    def until(self, words: str, value: object = None) -> None:
        """Wait until a function in JavaScript gives true. The page's policy lets no eval wait."""
        end = time.monotonic() + _PATIENCE_S
        while not self.run(words, value):
            assert time.monotonic() < end, f"never: {words}; {self.errors}"
            time.sleep(0.02)

    def close(self) -> None:
        self.page.context.close()
