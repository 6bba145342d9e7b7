"""Separate Python processes on the database that a test uses."""

import os
import sys
from pathlib import Path

import pytest

from tests import databases, forking

ROOT = Path(__file__).parents[2]

# Seconds after which a process counts as hanging.
TIMEOUT_S = 30

PREAMBLE = """
import django, logging, os, sys
logging.basicConfig(level="WARNING")
django.setup()
from eric_sse_django import log, notifier
from eric_sse_django.database import DatabaseChannel
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import publish
"""


def run(script: str, alias: str) -> str:
    """Return what `script` prints, run on the test database `alias`; fail if it does."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "ERIC_SSE_TEST_DB": databases.address(alias),
    }
    command = [sys.executable, "-c", PREAMBLE + script]
    done = forking.run(command, cwd=ROOT, env=environment, timeout_s=TIMEOUT_S)
    if done.returncode or done.stderr:
        pytest.fail(f"{script}\nended with {done.returncode}\n{done.stderr}", pytrace=False)
    return done.stdout
