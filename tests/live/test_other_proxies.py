"""Caddy and Traefik with the files of docs/hosting.md: they hold no stream back."""

import copy
import os
import subprocess

import httpx
import pytest

from tests import test_hosting as hosting
from tests.databases import sqlite_only
from tests.live.test_proxies import passes_each_on_at_once
from tests.patience import PATIENCE_S
from tests.server import free_port, is_free, until

yaml = pytest.importorskip("yaml")


def caddy(directory, port, upstream):
    """Return the command of Caddy with the file of the page; it compresses small answers too."""
    text = hosting.BLOCKS["Caddyfile"]
    for before, after in {
        "site.example.com": f"http://127.0.0.1:{port}",
        "encode zstd gzip": "encode gzip {\n\t\tminimum_length 1\n\t}",
    }.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    (directory / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}")
    command = [hosting.program("caddy"), "run", "--adapter", "caddyfile", "--config", "Caddyfile"]
    return command, {"UPSTREAM": f"127.0.0.1:{upstream}", "HOME": str(directory)}


def traefik(directory, port, upstream):
    """Return the command of Traefik with the files of the page, without TLS; it compresses."""
    static = copy.deepcopy(hosting.documents("/etc/traefik/traefik.yml")[0])
    dynamic = copy.deepcopy(hosting.documents("/etc/traefik/mysite.yml")[0])
    static["entryPoints"]["websecure"]["address"] = f"127.0.0.1:{port}"
    static["providers"]["file"]["filename"] = str(directory / "mysite.yml")
    del static["certificatesResolvers"]
    router, service = (dynamic["http"][each]["mysite"] for each in ("routers", "services"))
    router["rule"] = "Host(`127.0.0.1`)"
    router["middlewares"] = ["compressed"]
    del router["tls"]
    dynamic["http"]["middlewares"] = {"compressed": {"compress": {"minResponseBodyBytes": 1}}}
    service["loadBalancer"]["servers"][0]["url"] = f"http://127.0.0.1:{upstream}"
    del service["loadBalancer"]["healthCheck"]  # the tests' site has no health/
    (directory / "traefik.yml").write_text(yaml.safe_dump(static))
    (directory / "mysite.yml").write_text(yaml.safe_dump(dynamic))
    return [hosting.program("traefik"), f"--configFile={directory / 'traefik.yml'}"], {}


@pytest.fixture
def proxied(tmp_path, serve):
    """Return a function that puts a proxy before a new server, and returns its URL."""
    started = []

    def start(kind):
        port = free_port()
        command, environment = kind(tmp_path, port, serve("uvicorn").port)
        started.append(subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **environment}))
        url = f"http://127.0.0.1:{port}"
        assert until(lambda: not is_free(port) and _status(f"{url}/counters") == 200, PATIENCE_S)
        return url

    yield start
    for one in started:
        one.terminate()
        one.wait(PATIENCE_S)


def _status(url):
    """Return the status of a page: Traefik answers 404 until it has read its files."""
    try:
        return httpx.get(url, timeout=PATIENCE_S).status_code
    except httpx.HTTPError:
        return 0


@sqlite_only
@pytest.mark.parametrize("kind", [caddy, traefik], ids=lambda kind: kind.__name__)
async def test_a_proxy_that_compresses_passes_each_message_on_at_once(database, proxied, kind):
    await passes_each_on_at_once(proxied(kind))
