"""What `pip install` brings is the whole app, and it works away from the checkout."""

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.faults.scale import LONG_S
from tests.live.quick_start import command

pytestmark = [pytest.mark.versions, pytest.mark.timeout(LONG_S)]

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
def built(tmp_path_factory):
    """Return the folder with the two files of a release: the wheel is built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    [found] = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    """Return the folder of the unpacked sdist."""
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder := tmp_path_factory.mktemp("sdist"), filter="data")
    [found] = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(archive.read(name))


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


def test_pytest_finds_the_plugin(wheel):
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
    text = archive.read(name).decode()
    assert "[pytest11]\neric_sse_django.pytest_plugin = eric_sse_django.pytest_plugin" in text


def test_it_names_its_licence_and_its_authors(metadata):
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Author"] == "The eric_sse_django authors"


def test_the_page_of_a_package_index_has_no_link_that_leads_nowhere(metadata):
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    text = metadata.get_payload(decode=True).decode()
    assert "with_streams(application)" in text
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"(?:src|href)=.([^\"']+)", text)
    assert [target for target in targets if not target.startswith("https://")] == []


def test_with_an_address_of_the_source_its_links_lead_there():
    environment = {"README": "[a](docs/a.md) ![p](docs/p.png) [b](https://b.org/)"}
    # In the place of setuptools, which a virtual environment of Python 3.12 on has not.
    script = (
        "import os, sys, types\nsys.modules['setuptools'] = types.SimpleNamespace(setup=dict)\n"
    )
    script += "import setup\nprint(setup.away(os.environ['README'], 'https://c.org/d'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [
        "[a](https://c.org/d/blob/main/docs/a.md)",
        "![p](https://c.org/d/raw/main/docs/p.png)",
        "[b](https://b.org/)",
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout has a list of its files")
def test_the_sdist_holds_every_file_but_the_hosts(unpacked):
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    expected = {name for name in listed.stdout.split() if not name.startswith(".")}
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert expected - there == set()
    assert not [name for name in there if "__pycache__" in name or name.endswith(".sqlite3")]


def test_the_tests_of_the_sdist_run(unpacked):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "PYTEST"))}
    some = ["tests/core/test_message.py", "tests/database/test_shortcuts.py", "-k", "not mariadb"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some],
        cwd=unpacked,
        env=environment | {"PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_line_of_readme_installs_it(built, tmp_path):
    """Word for word, from the files that were built."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(built),
        "PIP_NO_DEPS": "1",
        "PIP_TARGET": str(tmp_path),
    }
    line = command("pip install")
    subprocess.run(line, shell=True, check=True, env=environment, timeout=BUILD_PATIENCE_S)
    assert (tmp_path / "eric_sse_django" / "routing.py").exists()


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
