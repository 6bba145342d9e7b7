"""What `pip install` brings is the whole app, and it works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.faults.scale import LONG_S

pytestmark = pytest.mark.timeout(LONG_S)

ROOT = Path(__file__).parent.parent.parent
BUILD_PATIENCE_S = 240

SITE = """
import os, sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="wheel",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "eric_sse_django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
)
django.setup()
from django.core.management import call_command

call_command("migrate", verbosity=0)
from eric_sse_django.shortcuts import channel, listen, publish

channel("orders")
listener = listen("orders", listener_id="till-7")
publish("orders", "paid", {"id": 7})
import eric_sse_django

print(eric_sse_django.__file__)
print(channel("orders").deliver_next("till-7").payload)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    package = ROOT / "eric_sse_django"
    expected = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected
    assert "eric_sse_django/py.typed" in names


def test_the_wheel_names_its_licence(wheel):
    archive = zipfile.ZipFile(wheel)
    [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    assert "License-Expression: MIT" in archive.read(metadata).decode()


def test_the_installed_wheel_publishes_and_delivers(wheel, tmp_path):
    target = tmp_path / "site"
    install = ["install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, timeout=BUILD_PATIENCE_S)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")
    }
    done = subprocess.run(
        [sys.executable, "-c", SITE, str(tmp_path / "db.sqlite3")],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    module, payload = done.stdout.splitlines()
    assert Path(module).is_relative_to(target)
    assert payload == "{'id': 7}"
