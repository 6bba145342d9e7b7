"""docs/hosting.md: each file is accepted by the program that reads it, or by its schema."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.urls import resolve

from eric_sse_django import conf
from tests.conftest import missing
from tests.live.quick_start import BLOCK
from tests.test_docs import ROOT
from tests.test_scaling import BESIDE_PATH, nginx_takes

yaml = pytest.importorskip("yaml")

# Neither Python nor Django changes what other programs accept.
pytestmark = pytest.mark.gate

PAGE = (ROOT / "docs" / "hosting.md").read_text()
BLOCKS = {path: text for path, _, text in BLOCK.findall(PAGE)}
# The Caddyfile's block has no language.
BLOCKS["Caddyfile"] = re.findall(r"^`Caddyfile`:\n\n```\n(.*?)^```", PAGE, re.M | re.S)[0]
LIMIT_S = 30.0


@cache
def documents(path: str) -> list[Any]:
    return list(yaml.safe_load_all(BLOCKS[path]))


def accepted(*command: str, cwd: Path, **environment: str) -> str:
    """Return the output of a program; fail the test if it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}", pytrace=False)
    return done.stdout


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=BESIDE_PATH)
    if found is None:
        missing(f"{name} is not installed")
    return str(found)


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_each_file_of_the_page_is_checked():
    assert BLOCKS.keys() == {
        *("mysite/settings.py", "mysite/urls.py", "gunicorn.conf.py"),
        *("/etc/systemd/system/mysite.service", "Dockerfile", "compose.yaml", "deployment.yaml"),
        *("Caddyfile", "/etc/traefik/traefik.yml", "/etc/traefik/mysite.yml"),
        "/etc/nginx/conf.d/mysite.conf",
    }


def test_the_checks_find_nothing_in_the_settings(tmp_path):
    django = [sys.executable, "-m", "django"]
    accepted(*django, "startproject", "mysite", ".", cwd=tmp_path)
    with (tmp_path / "mysite" / "settings.py").open("a") as file:
        file.write('INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "eric_sse_django"]\n')
        file.write('ASGI_APPLICATION = "mysite.asgi.application"\n')
        file.write(BLOCKS["mysite/settings.py"])
    with (tmp_path / "mysite" / "asgi.py").open("a") as file:
        file.write("from eric_sse_django.routing import with_streams\n")
        file.write("application = with_streams(application)\n")
    with (tmp_path / "mysite" / "urls.py").open("a") as file:
        file.write(BLOCKS["mysite/urls.py"])
    output = accepted(
        *(sys.executable, "manage.py", "check", "--deploy"),
        cwd=tmp_path,
        DJANGO_SETTINGS_MODULE="mysite.settings",
        PYTHONPATH=str(ROOT),
        SECRET_KEY="of the test: " + "x" * 50,
        DB_PASSWORD="x",
    )
    assert "eric_sse_django." not in output
    assert set(re.findall(r"security\.(W\d+)", output)) <= {
        "W004",
        "W008",
    }  # HSTS, redirect: the proxy


def test_gunicorn_takes_its_configuration(tmp_path):
    (tmp_path / "gunicorn.conf.py").write_text(BLOCKS["gunicorn.conf.py"])
    (tmp_path / "site_asgi.py").write_text("async def application(scope, receive, send): ...\n")
    command = ("-m", "gunicorn", "--print-config", "site_asgi:application")
    output = accepted(sys.executable, *command, cwd=tmp_path, BIND="0.0.0.0:8000")
    assert re.search(r"^worker_class +[= ]*.*asgi", output, re.MULTILINE | re.IGNORECASE)
    assert re.search(r"^bind += \['0\.0\.0\.0:8000'\]", output, re.MULTILINE)


def test_systemd_takes_the_unit(tmp_path):
    text = BLOCKS["/etc/systemd/system/mysite.service"]
    executable = tmp_path / "gunicorn"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    for before, after in {
        "/srv/mysite/.venv/bin/gunicorn": str(executable),
        "User=mysite": "User=root",
        "WorkingDirectory=/srv/mysite": f"WorkingDirectory={tmp_path}",
    }.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    unit = tmp_path / "mysite.service"
    unit.write_text(text)
    output = accepted(program("systemd-analyze"), "verify", str(unit), cwd=tmp_path)
    assert "mysite.service" not in output  # it names the unit before each warning


def test_the_service_stops_after_gunicorn():
    names: dict = {}
    exec(BLOCKS["gunicorn.conf.py"], names)
    [stop_s] = re.findall(r"TimeoutStopSec=(\d+)", BLOCKS["/etc/systemd/system/mysite.service"])
    compose_s = seconds(documents("compose.yaml")[0]["services"]["web"]["stop_grace_period"])
    assert min(int(stop_s), compose_s) > names["graceful_timeout"]


def test_compose_takes_its_file():
    compose_spec = pytest.importorskip("compose_spec")
    [file] = documents("compose.yaml")
    read = compose_spec.ComposeSpecification.model_validate(file)
    assert {
        name: each.model_extra for name, each in read.services.items() if each.model_extra
    } == {}
    services = file["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert "healthcheck" in services[other] or not healthy, f"{name} waits for {other}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith(".") or source in file["volumes"]
    assert not re.search(r"^CMD [^\[]", BLOCKS["Dockerfile"], re.MULTILINE)  # SIGTERM arrives


def test_kubernetes_takes_its_objects():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    latest = kubernetes_validate.latest_version()
    for each in documents("deployment.yaml"):
        kubernetes_validate.validate(each, latest, strict=True)


def test_a_pod_serves_until_proxies_have_left_it():
    deployment, service, budget = documents("deployment.yaml")
    pod = deployment["spec"]["template"]
    [container] = pod["spec"]["containers"]
    sleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > sleep_s + conf.DEFAULTS["DRAIN_S"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_each_health_check_asks_for_a_path_that_exists():
    web = documents("compose.yaml")[0]["services"]["web"]["healthcheck"]["test"][-1]
    container = documents("deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    traefik = documents("/etc/traefik/mysite.yml")[0]["http"]["services"]["mysite"]
    probes = [container[f"{kind}Probe"] for kind in ("readiness", "startup", "liveness")]
    paths = [probe["httpGet"]["path"] for probe in probes]
    paths += re.findall(r"http://localhost:8000([^\"]+)", web)
    paths += [traefik["loadBalancer"]["healthCheck"]["path"]]
    assert len(paths) == 5
    for path in paths:
        resolve(path.partition("?")[0].removeprefix("/health"), "eric_sse_django.health.urls")


def test_nginx_takes_its_file(tmp_path):
    text = BLOCKS["/etc/nginx/conf.d/mysite.conf"]
    live = "/etc/letsencrypt/live/site.example.com"
    main = f"user www-data;\nevents {{}}\nhttp {{\n{text}}}\n"
    nginx_takes(main, f"{live}/fullchain.pem", f"{live}/privkey.pem", tmp_path)


def test_caddy_takes_its_file(tmp_path):
    (tmp_path / "Caddyfile").write_text(BLOCKS["Caddyfile"])
    caddy = program("caddy")
    accepted(
        *(caddy, "validate", "--adapter", "caddyfile", "--config", "Caddyfile"),
        cwd=tmp_path,
        HOME=str(tmp_path),
    )
    assert accepted(caddy, "fmt", "Caddyfile", cwd=tmp_path) == BLOCKS["Caddyfile"]


def test_what_traefiks_files_name_exists():
    [static] = documents("/etc/traefik/traefik.yml")
    [dynamic] = documents("/etc/traefik/mysite.yml")
    router = dynamic["http"]["routers"]["mysite"]
    assert static["providers"]["file"]["filename"] in BLOCKS
    assert set(router["entryPoints"]) <= static["entryPoints"].keys()
    assert router["service"] in dynamic["http"]["services"]
    assert router["tls"]["certResolver"] in static["certificatesResolvers"]
