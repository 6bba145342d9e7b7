"""
Create docs/images: start a site with a separate database, and take screenshots with Chromium.

    python -m docs.screenshots [--into DIRECTORY] [--watch SECONDS]

Needs the extras `test` and `docs`, and Chromium: `playwright install chromium`, or one on the
PATH. Takes four minutes, because the monitor's charts show two. Stops each process that it
starts.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "images"
SIZE: Any = {"width": 1400, "height": 800}
# Seconds before the screenshot of the monitor: its charts show two minutes.
WATCHED_S = 122.0
SEED = 7
COLOURS = 256


def main() -> None:
    options = arguments()
    options.into.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated."))  # unwinds the stack
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        prepare(Path(directory))
        # These import the settings.
        from docs.screenshots import animation, data, demo, site, work  # noqa: PLC0415

        stack.callback(site.connections.close_all)
        choose = random.Random(SEED)
        data.fill(choose)
        work.fill(choose)
        data.serve(choose)
        paths, cookie = data.pages() | work.pages(), data.log_in()
        servers = [stack.enter_context(site.server()) for _ in site.NAMES]
        site.listen(servers, data.connected(choose))
        site.rename()
        stack.enter_context(site.traffic(choose))
        # From here on this thread has an event loop, so it can run no queries.
        playwright = stack.enter_context(sync_playwright())
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        pages = Pages(browser, servers[0], cookie)
        take(pages, paths, options)
        demo.create(
            browser, lambda page, name: save(page, options.into / f"{name}.png"), options.watch
        )
        animation.create(browser, options.into)
        browser.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m docs.screenshots")
    parser.add_argument("--into", type=Path, default=IMAGES, help="directory (docs/images)")
    parser.add_argument("--watch", type=float, default=WATCHED_S, help="seconds of the monitor")
    return parser.parse_args()


def prepare(directory: Path) -> None:
    """Let this process and its children use a new database."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "docs.screenshots.settings",
        "DEMO_DATABASE": str(directory / "site.sqlite3"),
        "DEMO_SECRET_KEY": "used for these screenshots only",
    }
    django.setup()
    call_command("migrate", verbosity=0)


@dataclass
class Pages:
    """Opens pages of the site as a logged-in user."""

    browser: Browser
    url: str
    cookie: Any

    def open(self, path: str, scheme: Any) -> Page:
        context = self.browser.new_context(color_scheme=scheme, viewport=SIZE)
        context.add_cookies([{**self.cookie, "url": self.url}])
        page = context.new_page()
        page.goto(self.url + path)
        return page


def take(pages: Pages, paths: dict[str, str], options: argparse.Namespace) -> None:
    """Take a screenshot of each page: the monitor with full charts, in the dark theme."""
    monitor = pages.open(paths.pop("monitor"), "dark")
    monitor.wait_for_timeout(options.watch * 1_000)
    save(monitor, options.into / "monitor.png")
    for name, path in paths.items():
        save(pages.open(path, "light"), options.into / f"{name}.png")


def save(page: Page, path: Path) -> None:
    """Take the screenshot, unless it would show this machine's name or an error."""
    text = page.locator("body").inner_text()
    for unwanted in (socket.gethostname(), tempfile.gettempdir(), "Traceback", "Server Error"):
        if unwanted in text:
            raise SystemExit(f"{path.name} would show {unwanted!r}.")
    # A palette: a third of the bytes, and no difference that is seen.
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}  {path.stat().st_size // 1024} kB  {page.title()}")


if __name__ == "__main__":
    main()
