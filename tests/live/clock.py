"""A separate wall clock for the processes that a test starts."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def absence() -> str | None:
    """Return why processes cannot have a separate clock here, None if they can."""
    return None if shutil.which("cc") else "there is no C compiler to set a process's clock with"


class Clock:
    """
    The time of day of all processes that are started with `environment`.

    Not of this process, and not of databases.
    """

    def __init__(self, directory: Path) -> None:
        """Compile what sets it into `directory`; 0.2 s."""
        self._file = directory / "clock"
        self._library = directory / "clock.so"
        self.put_on(0)
        compile = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(compile, check=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "ERIC_SSE_TEST_CLOCK": str(self._file)}

    def put_on(self, seconds: int) -> None:
        """Set it `seconds` after this machine's clock, at once; before it if negative."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))
