"""nginx before a server of the live tests, as it is set up for other pages: it may compress."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import missing
from tests.server import free_port, is_free, until

CONFIGURATION = """
daemon off; worker_processes 1; error_log {directory}/error.log; pid {directory}/pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    gzip on; gzip_proxied any; gzip_min_length 0;
    gzip_types text/event-stream application/json;
    server {{
        listen 127.0.0.1:{port};
        location /shop/ {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


def start(directory: Path, upstream: int) -> tuple[subprocess.Popen[bytes], str]:
    """Put nginx before a port; return its process and its URL."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        missing("nginx is not installed")
    port = free_port()
    text = CONFIGURATION.format(directory=directory, port=port, upstream=upstream)
    if os.geteuid() == 0:
        text = f"user root;{text}"
    (directory / "nginx.conf").write_text(text)
    command = [str(nginx), "-p", str(directory), "-c", str(directory / "nginx.conf")]
    process = subprocess.Popen([*command, "-e", "stderr"])
    assert until(lambda: not is_free(port), 10)
    return process, f"http://127.0.0.1:{port}"
