"""Static files that carry a hash in their names, as WhiteNoise keeps them: hashed ones only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.test import Client

import eric_sse_django
from eric_sse_django import runs
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.hypermedia import abroadcast_template
from eric_sse_django.message import Message
from tests.databases import sqlite_only
from tests.patience import PATIENCE_MS

async_api = pytest.importorskip("playwright.async_api")
expect = async_api.expect

APP = Path(eric_sse_django.__file__).parent
STATIC = [APP / "static", APP / "runs" / "static"]
IMPORT = re.compile(
    r"""(^|[;\s])(import\s*["'{*]|export\b.*\bfrom\b)|\bimport\(["'`]""", re.MULTILINE
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return the environment of a server, with its static files collected."""
    tmp_path = tmp_path_factory.mktemp("static")
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.live.hashed_settings",
        "ERIC_SSE_TEST_STATIC": str(tmp_path),
    }
    subprocess.run(
        [sys.executable, "-m", "django", "collectstatic", "--noinput", "--verbosity=0"],
        env={**os.environ, **environment},
        check=True,
        timeout=120,
    )
    kept = {path.name for path in (tmp_path / "eric_sse_django").iterdir()}
    assert "monitor.js" not in kept  # its hashed name only
    return environment


def test_no_script_imports_another_by_name():
    # Its name has no hash, so the browser finds none, or an old one in a cache.
    scripts = [path for folder in STATIC for path in folder.rglob("*.js")]
    assert {"eric-sse.js", "stream-element.js", "monitor.js", "run.js"} <= {
        path.name for path in scripts
    }
    assert [path.name for path in scripts if IMPORT.search(path.read_text())] == []


@pytest.mark.parametrize("rewrites", [False, True], ids=["plain", "rewriting imports"])
def test_every_storage_with_hashes_takes_the_scripts(tmp_path, rewrites):
    class Storage(ManifestStaticFilesStorage):
        support_js_module_import_aggregation = rewrites

    for folder in STATIC:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")]
    storage = Storage(location=tmp_path)
    processed = list(storage.post_process({name: (storage, name) for name in names}))
    assert len(processed) == len(names)
    for name, hashed, is_done in processed:
        assert is_done is True, f"{name}: {is_done}"
        assert (tmp_path / hashed).read_text() == (tmp_path / name).read_text()


@sync_to_async
def session():
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password=""))
    return client.cookies[settings.SESSION_COOKIE_NAME].value


async def monitor(page):
    await page.goto("/admin/eric_sse_django/monitor/")
    await expect(page.locator("#eric-status")).to_have_text("live")


async def client(page):
    channel = await DatabaseChannel.acreate("orders")
    await page.goto("/tab")
    await page.wait_for_function("window.states?.includes('live')")
    await channel.abroadcast(Message("n", 1))
    await page.wait_for_function("got.length === 1")


async def stream_element(page):
    await DatabaseChannel.acreate("lines", format="text")
    await page.goto("/stream")
    await abroadcast_template("lines", target="old", action="remove", library="plain")
    await expect(page.locator("#old")).to_have_count(0)


async def run_element(page):
    run = await runs.astart(await get_user_model().objects.aget(), "answer")
    await page.goto(f"/run/{run.id}")
    async with runs.aproduce(run) as out:
        out.write("all of it")
    await expect(page.locator("eric-run[status=finished]")).to_have_text("all of it")


@sqlite_only
@pytest.mark.skipif(find_spec("whitenoise") is None, reason="needs WhiteNoise")
async def test_each_page_with_a_script_of_the_app_works(database, serve, chromium, environment):
    application = "tests.live.tabs_asgi:application"
    server = serve("daphne", application=application, environment=environment)
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await browser.new_context(base_url=server.url)
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": await session()}
        await context.add_cookies([{**cookie, "url": server.url}])
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        missing, problems = [], []
        page.on("response", lambda answer: answer.status == 404 and missing.append(answer.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        for works in (monitor, client, stream_element, run_element):
            await works(page)
        await browser.close()
    assert problems == []
    assert [url for url in missing if not url.endswith("favicon.ico")] == []
