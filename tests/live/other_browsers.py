"""Firefox and WebKit, where they are installed: driven as their own interfaces want it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.server import free_port, is_free, until

MINI_BROWSER = "/usr/lib/*/webkit2gtk-4.1/MiniBrowser"


class Browser(Protocol):
    """A running browser; a tab is what it names its tabs by."""

    async def tab(self, url: str) -> Any: ...

    async def evaluate(self, tab: Any, expression: str) -> Any: ...

    async def close(self, tab: Any) -> None: ...


async def wait_for(browser: Browser, tab: Any, expression: str) -> None:
    """Wait until an expression is true in a tab."""

    async def wait() -> None:
        while not await browser.evaluate(tab, expression):
            await asyncio.sleep(0.1)

    await asyncio.wait_for(wait(), PATIENCE_S)


class Firefox:
    """Firefox, by WebDriver BiDi."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0

    async def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        call = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send(json.dumps(call))
        while (answer := json.loads(await self._socket.recv())).get("id") != self._number:
            pass  # an event
        assert answer["type"] == "success", answer
        return answer["result"]

    async def tab(self, url: str) -> Any:
        tab = (await self.call("browsingContext.create", type="tab"))["context"]
        await self.call("browsingContext.navigate", context=tab, url=url, wait="complete")
        return tab

    async def evaluate(self, tab: Any, expression: str) -> Any:
        text = f"JSON.stringify([{expression}])"
        target = {"context": tab}
        found = await self.call(
            "script.evaluate", expression=text, target=target, awaitPromise=False
        )
        return json.loads(found["result"]["value"])[0]

    async def close(self, tab: Any) -> None:
        await self.call("browsingContext.close", context=tab)


class WebKit:
    """WebKitGTK's small browser, by WebDriver."""

    def __init__(self, client: httpx.AsyncClient, session: str) -> None:
        self._client, self._session = client, session

    async def call(self, path: str, **body: Any) -> Any:
        answer = await self._client.post(f"/session/{self._session}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    async def tab(self, url: str) -> Any:
        tab = (await self.call("window/new", type="tab"))["handle"]
        await self.call("window", handle=tab)
        await self.call("url", url=url)
        return tab

    async def evaluate(self, tab: Any, expression: str) -> Any:
        await self.call("window", handle=tab)
        return await self.call("execute/sync", script=f"return ({expression})", args=[])

    async def close(self, tab: Any) -> None:
        await self.call("window", handle=tab)
        await self._client.delete(f"/session/{self._session}/window")


def installed(*names: str) -> str:
    """Return the path of a program; skips where it is not installed."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"{names[0]} is not installed")
    return found


@asynccontextmanager
async def firefox(directory: Path) -> AsyncIterator[Browser]:
    program = installed("firefox-esr", "firefox")
    websockets = pytest.importorskip("websockets")
    port = free_port()
    options = ["--headless", "--no-remote", "--profile", str(directory)]
    command = [program, *options, "--remote-debugging-port", str(port)]
    environment = {**os.environ, "HOME": str(directory)}
    with running(command, port, environment):
        async with websockets.connect(f"ws://127.0.0.1:{port}/session", max_size=None) as socket:
            browser = Firefox(socket)
            await browser.call("session.new", capabilities={})
            yield browser


@asynccontextmanager
async def webkit(directory: Path) -> AsyncIterator[Browser]:
    program, display = installed("WebKitWebDriver"), installed("Xvfb")
    browsers = [str(path) for path in Path("/").glob(MINI_BROWSER[1:])]
    if not browsers:
        pytest.skip("WebKitGTK has no MiniBrowser")
    port, number = free_port(), f":{free_port() % 50_000 + 100}"
    environment = {
        **os.environ,
        "HOME": str(directory),
        "XDG_RUNTIME_DIR": str(directory),
        "DISPLAY": number,
        "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",  # root may have none
    }
    options = {"binary": browsers[0], "args": ["--automation"]}
    wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
    screen = subprocess.Popen([display, number, "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
    try:
        with running([program, f"--port={port}"], port, environment):
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
                answer = await client.post("/session", json=wanted)
                assert answer.status_code == 200, answer.text
                session = answer.json()["value"]["sessionId"]
                yield WebKit(client, session)
                await client.delete(f"/session/{session}")
    finally:
        screen.terminate()
        screen.wait(PATIENCE_S)


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    """Run a program, once it listens on a port, and end it with all that it started."""
    silent: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **silent)
    try:
        assert until(lambda: not is_free(port), PATIENCE_S)
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
