"""Fixtures of the live tests: everything here is slow, and marked so."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import npm
from tests.live import asgi_servers, nginx


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture
def serve() -> Iterator[Callable[..., asgi_servers.ASGIServer]]:
    """Return a function that starts an ASGIServer (same arguments); all end with the test."""
    with ExitStack() as stack:

        def start(server: str = "daphne", **options: Any) -> asgi_servers.ASGIServer:
            return stack.enter_context(asgi_servers.ASGIServer(server, **options))

        yield start


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[[asgi_servers.ASGIServer], str]]:
    """Return a function that puts nginx, which compresses what it can, before a server."""
    started = []

    def start(process: asgi_servers.ASGIServer) -> str:
        one, url = nginx.start(tmp_path, process.port)
        started.append(one)
        return url

    yield start
    for one in started:
        one.terminate()
        one.wait(10)


@pytest.fixture(scope="session")
def apps() -> Path:
    """Return the folder with the bundles of js/tests/apps: eric-sse with each framework."""
    return npm.apps()


@pytest.fixture(scope="session")
def modules() -> Path:
    """Return the folder node_modules, with the libraries that pages of the tests use."""
    found = npm.install()
    npm.datastar()
    return found
