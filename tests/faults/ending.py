"""Processes that end with the process that started them, also if that is killed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence


def ending_with_parent(command: Sequence[str]) -> list[str]:
    """
    Return the command line that runs `command` until its parent dies, if Linux supports that.

    Not with preexec_fn: Python 3.12 warns of it in a process with threads. The process keeps its
    pid: setpriv sets the signal in the kernel (PR_SET_PDEATHSIG), then becomes the command.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        return list(command)
    return [setpriv, "--pdeathsig", "KILL", "--", *command]
