"""nginx in front of the servers under test."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence

from benchmarks.servers import Guarded
from tests.server import Server

# Debian installs it in a directory that is not on every user's PATH.
BESIDE_PATH = "/usr/sbin:/usr/local/sbin"

# The recommendation of docs/scaling.md, for one site on loopback.
CONFIGURATION = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log stderr warn;
pid {directory}/pid;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream streams {{
        least_conn;
        {servers}
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://streams;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_read_timeout 60s;
        }}
    }}
}}
"""


class _Nginx(Server):
    """nginx that passes each new stream to the process with the fewest connections."""

    name = "nginx"
    users = ("www-data",)

    def __init__(self, ports: Sequence[int]) -> None:
        """`ports` are those of the servers behind it."""
        super().__init__()
        self._ports = ports

    @classmethod
    def absence(cls) -> str | None:
        if executable() is None:
            return "nginx is not installed (on Debian: apt-get install nginx-light)"
        return None

    def prepare(self) -> None:
        # Never taken for down: one that was killed is there again within a second.
        servers = "\n        ".join(
            f"server 127.0.0.1:{port} max_fails=0;" for port in self._ports
        )
        text = CONFIGURATION.format(directory=self.directory, servers=servers, port=self.port)
        (self.directory / "nginx.conf").write_text(text)

    def command(self) -> list[str]:
        configuration = str(self.directory / "nginx.conf")
        place = ["-p", str(self.directory), "-c", configuration, "-e", "stderr"]
        return [executable() or "nginx", *place]

    def is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Nginx(Guarded, _Nginx):
    """nginx that ends with the harness."""


def executable() -> str | None:
    """Return nginx's path, None without it."""
    return shutil.which("nginx") or shutil.which("nginx", path=BESIDE_PATH)
