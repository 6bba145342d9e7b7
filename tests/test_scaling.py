"""docs/scaling.md: its snippets are what the programs read, its picture is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from eric_sse_django import conf
from tests.server import free_port

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scaling.md").read_text()
# Debian's servers, and the programs that pip installed.
BESIDE_PATH = f"/usr/sbin:/usr/local/sbin:{Path(sys.executable).parent}"
CERTIFICATE = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"


def snippet(first_line: str) -> str:
    """Return the one code block that begins with such a line."""
    (found,) = re.findall(rf"```\w+\n({re.escape(first_line)}.*?)```", PAGE, re.DOTALL)
    return str(found)


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=BESIDE_PATH)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_nginx_takes_its_configuration(tmp_path):
    text = snippet("# /etc/nginx/nginx.conf")
    nginx_takes(text, "/etc/ssl/site.pem", "/etc/ssl/site.key", tmp_path)


def nginx_takes(text, certificate, its_key, tmp_path):
    """Fail unless nginx takes a configuration, with a certificate in the place of these files."""
    nginx, openssl = program("nginx"), program("openssl")
    pem, key = tmp_path / "site.pem", tmp_path / "site.key"
    subprocess.run(
        [openssl, *CERTIFICATE.split(), "-out", str(pem), "-keyout", str(key)],
        check=True,
        capture_output=True,
        timeout=30,
    )
    places = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    for before, after in {
        certificate: str(pem),
        its_key: str(key),
        "listen 443": f"listen 127.0.0.1:{free_port()}",
        "user www-data;": f"pid {tmp_path}/pid;",
        "http {": f"http {{ {places}",
    }.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    (tmp_path / "nginx.conf").write_text(text)
    done = subprocess.run(
        [nginx, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_the_kernel_settings_exist():
    lines = snippet("# /etc/sysctl.d/60-streams.conf").splitlines()
    pairs = [line.split(" = ") for line in lines if not line.startswith("#")]
    for name, value in pairs:
        place = Path("/proc/sys", *name.split("."))
        if place.parent.exists():  # conntrack may not be loaded
            assert place.exists(), name
            assert len(place.read_text().split()) == len(value.split()), name


def test_this_apps_settings_are_allowed():
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([\d.,]+) \| ([\d.,]+) \| ([\d.,]+) \|$", PAGE, re.M)
    assert len(rows) == 4
    for name, *values in rows:
        for value in values:
            assert conf.BY_NAME[name].problem(int(value.replace(",", ""))) is None, name


@pytest.mark.parametrize("picture", re.findall(r"!\[.*?\]\((.*?\.svg)\)", PAGE))
def test_its_pictures_can_be_drawn(picture):
    assert ElementTree.parse(ROOT / "docs" / picture).getroot().tag.endswith("}svg")
