"""A real Chromium without a screen, and what must never be seen in it: an error, a request to another host, a breach
of the page's own policy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

INSTALL_SECONDS = 900.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
NARROW, WIDE = 390, 1280  # pixels


class NotAvailableError(Exception):
    """There is no Chromium on this machine; the message says how to get it."""


def executable() -> Path:
    """Chromium's program; on a Debian machine whose root we are it is installed. Raises NotAvailableError."""
    found = _found()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
        found = _found()
    if found is None:
        raise NotAvailableError(
            "no Chromium; install it: apt-get install chromium (or Google Chrome), and run again"
        )
    return found


def _found() -> Path | None:
    return next((Path(path) for name in NAMES if (path := shutil.which(name))), None)


def _install() -> None:
    print("Installing Debian's package chromium (once) …", file=sys.stderr, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (
        ["update"],
        ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
    ):
        try:
            done = subprocess.run(
                ["apt-get", "-q", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotAvailableError(
                f"apt-get {arguments[0]} did not end in {INSTALL_SECONDS:.0f} s"
            ) from error
        if done.returncode and arguments[0] == "install":
            raise NotAvailableError(f"apt-get could not install chromium: {done.stderr.strip()[-500:]}")


@contextmanager
def running(program: Path) -> Iterator[Browser]:
    """A browser with a profile of its own. The environment's HOME is the test's."""
    with tempfile.TemporaryDirectory(prefix="am-chromium-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            headless=True,
            args=list(FLAGS),
            env={**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder},
        )
        yield browser
        browser.close()


@contextmanager
def context(
    browser: Browser, *, width: int = WIDE, scheme: Literal["light", "dark"] = "light"
) -> Iterator[BrowserContext]:
    """A browser's window that knows no cookie yet."""
    made = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield made
    made.close()


class Watch:
    """What goes wrong in a page. Where a test expects something, such as a refused request, it takes it out."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        self.host = ""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):  # a breach of the policy is an error that is said here
            self.problems.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        there = urlsplit(request.url)
        if there.scheme == "data":
            return
        self.host = self.host or there.netloc
        if there.netloc != self.host:
            self.problems.append(f"request to another host: {request.url}")
