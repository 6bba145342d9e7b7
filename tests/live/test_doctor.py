"""The doctor gives no false alarm on the deployments that docs/deployment.md recommends."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from eric_sse_django.doctor import project
from tests import certificates, forking
from tests.databases import on, postgres_only
from tests.doctor.nginx import RECIPE, nginx
from tests.live.asgi_servers import ROOT

HEARTBEAT = {"HEARTBEAT_S": 1}
# docs/deployment.md, "Timeouts".
OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": "-c statement_timeout=25000",
}
NATS = "eric_sse_django.wakes.nats.NatsFabric"


def examined(server, url, *options):
    """Return what the command finds, run with the settings of a server."""
    command = [sys.executable, "-m", "django", "eric_doctor", "--json", "--url", url, *options]
    done = forking.run(command, cwd=ROOT, env=server.environment, timeout_s=60)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)["findings"]


def bad(findings, *but):
    return [
        each for each in findings if each["level"] in ("warning", "error") if each["id"] not in but
    ]


@on("sqlite")
def test_each_server_behind_nginx_is_healthy(database, serve):
    options = {"hypercorn": ("-w", "0"), "gunicorn": ("-k", "asgi", "-w", "1")}

    def look(server):
        process = serve(server, settings=HEARTBEAT, options=options.get(server, ()))
        with nginx(process.url) as url:
            return examined(process, url)

    servers = ("daphne", "uvicorn", "hypercorn", "granian", "gunicorn")
    with ThreadPoolExecutor(len(servers)) as pool:  # they mostly wait
        for server, found in zip(servers, pool.map(look, servers), strict=True):
            assert bad(found) == [], server
            wanted = {"stream.delivers", "stream.stays_open", "stream.continues"}
            assert wanted <= {each["id"] for each in found}, server


@on("postgres", "mariadb")
def test_a_site_with_redis_and_http2_on_each_database_is_healthy(
    database, serve, redis_server, tmp_path
):
    process = serve("uvicorn", database=database, settings=HEARTBEAT, redis_port=redis_server.port)
    certificate, key = certificates.make(tmp_path)
    server = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    with nginx(process.url, RECIPE, server=server, tls="ssl http2") as url:
        found = examined(process, url, "--insecure")
    # The tests' own connections have no timeouts.
    assert bad(found, "settings.W030") == []
    assert "stream.http1" not in [each["id"] for each in found]


@postgres_only
def test_the_recommended_settings_are_healthy(database, settings, nats_server, monkeypatch):
    settings.ERIC_SSE = {"FABRIC": {"BACKEND": NATS, "LOCATION": nats_server.url}}
    monkeypatch.setitem(connections["postgres"].settings_dict, "OPTIONS", OPTIONS)
    assert [each.id for each in project.examine()] == ["settings.checked"]
