"""A real nginx before the server of a test, with one thing wrong."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.server import free_port, is_free, until

# As docs/deployment.md recommends.
RECIPE = """
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_read_timeout 60s;
"""
TEXT = """
{user} daemon off; worker_processes 1; error_log {directory}/error.log; pid {directory}/pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{
        listen 127.0.0.1:{port} {tls};
        {server}
        location /events/ {{ {location} }}
    }}
}}
"""


@contextmanager
def nginx(upstream, recipe=RECIPE, *more, location=None, server="", tls=""):
    """Yield the URL of an nginx that passes /events/ on; `location` replaces all of that."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        missing("nginx is not installed")
    passing = f"proxy_pass {upstream}; {recipe} {' '.join(more)}"
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        text = TEXT.format(
            directory=directory,
            port=port,
            user="user root;" if os.geteuid() == 0 else "",
            location=passing if location is None else location,
            server=server,
            tls=tls,
        )
        file = Path(directory) / "nginx.conf"
        file.write_text(text)
        process = subprocess.Popen([program, "-p", directory, "-c", str(file), "-e", "stderr"])
        try:
            assert until(lambda: not is_free(port), 10)
            yield f"http{'s' if tls else ''}://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)
