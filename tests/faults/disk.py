"""
A disk that is really full: python -m tests.faults.disk

SQLite on a file system of 6 MB that only this command sees. While clients listen, a file fills
the rest. Publishers have to get an error, streams have to stay open, and all accepted messages
have to arrive once there is space again. Prints a report; exits with 1 if that failed.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.faults import namespace
from tests.faults.report import end_like_ctrl_c, write
from tests.faults.servers import Servers, running_servers

SIZE = "6m"
FILL_TIMEOUT_S = 60.0
FULL = "OperationalError: database or disk is full"


def fill(directory: Path) -> Path:
    """Return a file that fills the rest of the disk."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return ballast


async def play(servers: Servers, directory: Path, full_s: float) -> dict[str, Any]:
    """Return the report."""
    from tests.faults.load import load
    from tests.live import site

    server = servers.serve("uvicorn")
    await asyncio.to_thread(server.start)
    try:
        async with load(server) as under_load:
            await under_load.until_accepted(30)
            ballast = fill(directory)
            # SQLite first writes to the end of its existing -wal file.
            await site.until(under_load.errors, FILL_TIMEOUT_S)
            await asyncio.sleep(full_s)
            errors = len(under_load.errors())
            ballast.unlink()
            await under_load.until_accepted(30)
            verdict = await under_load.finish()
            return {
                "accepted": under_load.accepted(),
                "errors_while_full": errors,
                "errors": sorted(set(under_load.errors())),
                "streams_stayed_open": under_load.stayed_open(),
                "verdict": {"good": verdict.good, **verdict.as_dict()},
            }
    finally:
        server.kill()
        server.log.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.disk")
    parser.add_argument("--seconds", type=float, default=5, help="how long the disk is full (5)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    namespace.enter("mount", "tests.faults.disk", sys.argv[1:])
    end_like_ctrl_c()
    with tempfile.TemporaryDirectory(prefix="eric_sse_disk_") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", name], check=True)
        with running_servers("sqlite", directory=Path(name)) as servers:
            report = asyncio.run(play(servers, Path(name), options.seconds))
        subprocess.run(["umount", "--lazy", name], check=True)
    write(report, options.json)
    refused = report["errors_while_full"] and FULL in report["errors"]
    good = refused and report["streams_stayed_open"] and report["verdict"]["good"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
