"""Processes that die with the one that started them, also when that one is killed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence


def mortal(command: Sequence[str]) -> list[str]:
    """
    Return the command line that runs `command` until its parent dies, where Linux has that.

    Not preexec_fn: Python 3.12 warns of it in a process with threads. The process keeps its
    pid: setpriv asks the kernel (PR_SET_PDEATHSIG), then becomes the command.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        return list(command)
    return [setpriv, "--pdeathsig", "KILL", "--", *command]
