"""
The calls of this app's code for a published message, and for a client that reconnects.

    python -m benchmarks.walks [--list]

One process on SQLite with uvicorn, and one stream. After a warm-up it counts the calls of the
package's functions, on all threads: from publish() to the frame at the client, and from a request
with a Last-Event-ID to its first replayed frame. --list prints each call. Takes six seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import database

# Seconds for the whole run.
TIMEOUT_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print each file and each call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            database.VARIABLE: str(Path(folder) / "walks.sqlite3"),
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        }
        command = [sys.executable, "-m", "benchmarks.walks.walker", *["--list"] * options.list]
        sys.exit(
            subprocess.run(command, env=environment, timeout=TIMEOUT_S, check=False).returncode
        )


if __name__ == "__main__":
    main()
