"""A project's tests on Django's own test database for SQLite, which is in memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.asgi_servers import ROOT

FILES = {
    "settings.py": """
SECRET_KEY = "plain"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "eric_sse_django",
]
ROOT_URLCONF = "urls"
STATIC_URL = "static/"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "db.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
""",
    "urls.py": """
from django.http import HttpResponse
from django.urls import path

from eric_sse_django.shortcuts import publish


def pay(request, number):
    publish("orders", "paid", number)
    return HttpResponse(status=204)


urlpatterns = [path("pay/<int:number>/", pay)]
""",
    "orders/__init__.py": "",
    "orders/tests.py": """
from urllib.request import Request, urlopen

from django.db import transaction
from django.test import LiveServerTestCase, TestCase, TransactionTestCase

from eric_sse_django import log
from eric_sse_django.shortcuts import channel, listen, publish


class Cases:
    def setUp(self):
        self.orders = channel("orders")
        self.listener = listen("orders")

    def test_messages_that_a_view_publishes_can_be_taken(self):
        for number in range(5):
            self.client.post(f"/pay/{number}/")
        with transaction.atomic():
            publish("orders", "paid", 5)
            publish("orders", "paid", 6)
        found = [self.orders.deliver_next(self.listener.id).payload for _ in range(7)]
        self.assertEqual(found, list(range(7)))


class InATestCase(Cases, TestCase):
    def test_callbacks_can_be_captured(self):
        with self.captureOnCommitCallbacks(execute=True):
            publish("orders", "paid", 1)
        self.assertFalse(log.pending().exists())

    async def test_an_async_view_is_called(self):
        await self.async_client.post("/pay/7/")
        message = await self.orders.adeliver_next(self.listener.id)
        self.assertEqual(message.payload, 7)


class InATransactionTestCase(Cases, TransactionTestCase):
    def test_the_commit_gives_the_positions(self):
        with transaction.atomic():
            publish("orders", "paid", 1)
            self.assertTrue(log.pending().exists())
        self.assertFalse(log.pending().exists())


class OnALiveServer(LiveServerTestCase):
    def test_messages_that_its_thread_publishes_can_be_taken(self):
        orders, listener = channel("orders"), listen("orders")
        urlopen(Request(f"{self.live_server_url}/pay/7/", method="POST"), timeout=10).close()
        self.assertEqual(orders.deliver_next(listener.id).payload, 7)
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize("more", [[], ["--parallel", "2"]], ids=["alone", "parallel"])
def test_it_passes_and_nothing_is_logged(project, more):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "test", "orders.tests", *more],
        cwd=project,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{project}",
            "DJANGO_SETTINGS_MODULE": "settings",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 6 tests" in done.stderr
    assert "Traceback" not in done.stderr
    assert "failed" not in done.stderr
    assert "eric_sse" not in done.stderr
