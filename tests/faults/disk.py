"""
A disk that is full, for real: python -m tests.faults.disk

SQLite on a file system of 6 MB that only this command sees. While clients listen, a file
takes what is left; publishers are to be told, streams to stay open, and everything that was
accepted to arrive once there is room again. Prints a report; ends with 1 where not.
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
from tests.faults.ground import Ground, ground
from tests.faults.report import end_like_ctrl_c, write

SIZE = "6m"
FILL_TIMEOUT_S = 60.0
FULL = "OperationalError: database or disk is full"


def fill(directory: Path) -> Path:
    """Return a file that takes all the room there is left."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return ballast


async def play(below: Ground, directory: Path, full_s: float) -> dict[str, Any]:
    """Return what came of it."""
    from tests.faults.load import load
    from tests.live import site

    server = below.serve("uvicorn")
    await asyncio.to_thread(server.start)
    try:
        async with load(server) as under_load:
            await under_load.until_accepted(30)
            ballast = fill(directory)
            # SQLite first writes to the end of the log file that it has.
            await site.until(under_load.errors, FILL_TIMEOUT_S)
            await asyncio.sleep(full_s)
            told = len(under_load.errors())
            ballast.unlink()
            await under_load.until_accepted(30)
            verdict = await under_load.finish()
            return {
                "accepted": under_load.accepted(),
                "errors_while_full": told,
                "errors": sorted(set(under_load.errors())),
                "streams_stayed_open": under_load.stayed_open(),
                "verdict": {"good": verdict.good, **verdict.as_dict()},
            }
    finally:
        server.kill()
        server.log.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.disk")
    parser.add_argument("--seconds", type=float, default=5, help="how long it is full (5)")
    parser.add_argument("--json", metavar="FILE")
    asked = parser.parse_args()
    namespace.enter("mount", "tests.faults.disk", sys.argv[1:])
    end_like_ctrl_c()
    with tempfile.TemporaryDirectory(prefix="eric_sse_disk_") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", name], check=True)
        with ground("sqlite", directory=Path(name)) as below:
            report = asyncio.run(play(below, Path(name), asked.seconds))
        subprocess.run(["umount", "--lazy", name], check=True)
    write(report, asked.json)
    told = report["errors_while_full"] and FULL in report["errors"]
    good = told and report["streams_stayed_open"] and report["verdict"]["good"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
