"""A process as coroutines use it: they wait for its end, and read what it writes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.forking.forked import Forked
from tests.forking.forker import popen

CHECK_S = 0.01


class Running:
    """A process; with pipes, `output` has its lines, and end_input() ends its input."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked) -> None:
        self.output = asyncio.StreamReader()
        self._process = process
        self._input: int | None = None

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    async def wait(self) -> int:
        """Return its status when it has ended."""
        while (status := self.returncode) is None:
            await asyncio.sleep(CHECK_S)
        self.end_input()
        return status

    def kill(self) -> None:
        self._process.kill()

    def end_input(self) -> None:
        """Let its standard input end."""
        if self._input is not None:
            os.close(self._input)
            self._input = None

    async def _connect(self, writes_to: int, reads_from: int) -> None:
        self._input = writes_to
        loop = asyncio.get_running_loop()
        file = os.fdopen(reads_from, "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self.output), file)


async def start(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], pipes: bool = False
) -> Running:
    """
    Start a process as popen() does; its errors, and without pipes its output, are ours.

    With `pipes` it is killed when we end, because nobody would read what it writes.
    """
    if not pipes:
        return Running(popen(command, cwd=cwd, env=env, stdout=1, stderr=2))
    with ExitStack() as stack:
        its_input, writes_to = os.pipe()
        stack.callback(os.close, its_input)
        reads_from, its_output = os.pipe()
        stack.callback(os.close, its_output)
        process = popen(
            command,
            cwd=cwd,
            env=env,
            stdin=its_input,
            stdout=its_output,
            stderr=2,
            dies_with_us=True,
        )
        running = Running(process)
        await running._connect(writes_to, reads_from)
        return running
