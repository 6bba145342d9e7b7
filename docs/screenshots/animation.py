"""
The moving picture of the README: a visitor of the demo goes offline, and misses nothing.

    python -m docs.screenshots.animation [--into DIRECTORY]

Also made by `python -m docs.screenshots`. Needs the extra `docs` and Chromium; takes 30 s.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
NAME = "offline.webp"
START_S, STOP_S = 60.0, 10.0
# Of a visitor's page, in CSS pixels: narrow, so that it is one column.
SIZE: Any = {"width": 500, "height": 900}
CAPTION_PX, GAP_PX = 44, 16
BACKGROUND, INK = "#f4f3ee", "#1d2b2a"
QUALITY = 70
# Not in the picture: what explains the page, and what has the focus.
UNSEEN = ".inbox .api { display: none } .inbox :focus-visible { outline: none }"


class Recorder:
    """Takes frames of two visitors' inboxes, side by side below a caption."""

    def __init__(self, *pages: Page) -> None:
        self.inboxes = [page.locator("section.inbox") for page in pages]
        self.font = ImageFont.load_default(size=22)
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []

    def take(self, caption: str, ms: int) -> None:
        """Add a frame that is shown for some milliseconds."""
        shots = [Image.open(io.BytesIO(each.screenshot())) for each in self.inboxes]
        width = sum(each.width for each in shots) + GAP_PX * (len(shots) + 1)
        height = CAPTION_PX + max(each.height for each in shots) + GAP_PX
        frame = Image.new("RGB", (width, height), BACKGROUND)
        ImageDraw.Draw(frame).text((GAP_PX, 10), caption, fill=INK, font=self.font)
        x = GAP_PX
        for each in shots:
            frame.paste(each, (x, CAPTION_PX))
            x += each.width + GAP_PX
        self.frames.append(frame)
        self.durations.append(ms)

    def save(self, path: Path) -> None:
        """Write the animation, which repeats."""
        # An inbox that is offline has one line more.
        size = tuple(
            max(sides) for sides in zip(*(each.size for each in self.frames), strict=True)
        )
        first, *rest = (_padded(each, size) for each in self.frames)
        options = {"duration": self.durations, "loop": 0, "quality": QUALITY, "method": 6}
        first.save(path, save_all=True, append_images=rest, **options)
        print(f"{path.name}  {path.stat().st_size // 1024} kB  {len(self.frames)} frames")


def _padded(frame: Image.Image, size: Any) -> Image.Image:
    padded = Image.new("RGB", size, BACKGROUND)
    padded.paste(frame, (0, 0))
    return padded


def create(browser: Browser, into: Path) -> None:
    """Start the demo with a separate database, and record both visitors."""
    with tempfile.TemporaryDirectory() as directory, demo(Path(directory)) as url:
        left, right = visitor(browser, url), visitor(browser, url)
        recorder = Recorder(left, right)
        play(recorder, left, right)
        recorder.save(into / NAME)


def play(recorder: Recorder, left: Page, right: Page) -> None:
    """One of the two visitors goes offline while the other one sends."""
    recorder.take("Two visitors, each with a durable queue", 1_800)
    send(left, "Order 7 is paid", right)
    recorder.take("A message reaches both at once", 2_200)
    switch(right, "false")
    recorder.take("The right one goes offline …", 1_800)
    for text in ("Order 8 is paid", "Order 9 is paid", "Order 7 is shipped"):
        send(left, text, left)
        recorder.take("… and messages are sent meanwhile", 900)
    right.get_by_text("3 messages wait").wait_for()
    recorder.take("They wait in the queue, in the database", 1_800)
    switch(right, "true")
    right.get_by_text("Order 7 is shipped").wait_for()
    recorder.take("Online again: nothing is missing, and all is in order", 4_000)


def send(page: Page, text: str, until: Page) -> None:
    """Broadcast a text, and wait until it is on a page."""
    page.fill("#broadcast-text", text)
    page.press("#broadcast-text", "Enter")
    until.get_by_text(text).wait_for()
    page.get_by_text(text).wait_for()


def switch(page: Page, state: str) -> None:
    """Take a visitor offline ("false") or online ("true")."""
    page.get_by_role("switch", name="Online").press("Space")
    page.locator(f"#online[aria-checked={state}]").wait_for()
    page.locator("#inbox-state").get_by_text("live" if state == "true" else "offline").wait_for()


def visitor(browser: Browser, url: str) -> Page:
    """Return the demo's page in a new session, when its stream is open."""
    # The demo's policy refuses the style that is added here.
    context = browser.new_context(color_scheme="light", viewport=SIZE, bypass_csp=True)
    page = context.new_page()
    page.goto(url)
    page.add_style_tag(content=UNSEEN)
    page.locator("#inbox-state").get_by_text("live").wait_for()
    return page


@contextlib.contextmanager
def demo(directory: Path) -> Iterator[str]:
    """Run `manage.py demo` with a new database; yield its URL when it answers."""
    from tests.server import free_port  # noqa: PLC0415 - needs the checkout

    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    settings = {"DEMO_DATABASE": str(directory / "demo.sqlite3"), "DEMO_SECRET_KEY": "a picture's"}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "demo_project.settings", **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(STOP_S)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=START_S).close()
            return
        time.sleep(0.1)
    raise SystemExit("The demo did not start: see its errors above.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.screenshots.animation")
    parser.add_argument("--into", type=Path, default=IMAGES, help="directory (docs/images)")
    into = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        create(browser, into)
        browser.close()


if __name__ == "__main__":
    main()
