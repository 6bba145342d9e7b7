"""Producing: what a worker writes its output to, and how that ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.db import connections

from eric_sse_django import conf
from eric_sse_django.cancelling import within
from eric_sse_django.exception import EricError
from eric_sse_django.log import database, log_dialect, payload_text
from eric_sse_django.runs import ends, storable, writer
from eric_sse_django.runs.chunks import pieces
from eric_sse_django.runs.exceptions import RunEnded, RunStopped, RunTaken
from eric_sse_django.runs.leasing import take
from eric_sse_django.runs.models import Run
from eric_sse_django.runs.output import Held, Output

logger = logging.getLogger(__name__)

T = TypeVar("T")
# A run whose lease is taken, and what writes its output.
Begun = tuple[Held, writer.Writer | writer.Here]

# What JSON's readers hold, as float() does.
MAX_NUMBER = 1e300
# Characters of one run that may wait for the database; then write() waits too.
MAX_WAITING = 1_048_576


class Out:
    """
    What a producer writes to. write(), send() and progress() return before it is committed.

    They raise RunStopped once the run is asked to stop, and RunTaken once another producer has
    it: then nothing more is written. Any thread of the process may call them.
    """

    def __init__(self, run: Run, held: Held, its_writer: writer.Writer | writer.Here) -> None:
        self.run = run
        # What the run has as its result when it is finished: a JSON value.
        self.result: Any = None
        self._upstream: Any = held.upstream
        # Within together(), and after one of which it is not known how it ended.
        self._parts: list[tuple[str, bool]] | None = None
        self._left: tuple[list[tuple[str, bool]], Any] | None = None
        self._output = Output(held)
        # Returns whether another attempt follows an error: the run then waits for it.
        self.may_retry: Callable[[BaseException], bool] = lambda error: False
        # Whether this app enqueues that attempt, and not the task's package.
        self.owes_task: Callable[[], bool] = lambda: False
        self._saw_stop = False
        self._forks = writer.forks
        self._writer = its_writer
        writer.handle_sigterm()
        self._writer.open(self._output)

    # What it writes -----------------------------------------------------------------

    def write(self, text: str) -> None:
        """Write a text: one chunk, unless it has more than 16,384 characters."""
        for piece in pieces(text):
            self._add(piece, True)

    def send(self, value: Any) -> None:
        """Write a JSON value: one chunk. Raises InvalidMessageFormat for other values."""
        self._add(payload_text(value), False)

    def progress(
        self, done: float | None = None, total: float | None = None, text: str = ""
    ) -> None:
        """Show how far the work is; of several at once only the last one."""
        value = {"done": _number(done), "total": _number(total), "text": storable.text(str(text))}
        self._check_process()
        with self._writer.changed:
            self._check()
            self._output.set_progress(value)
            if self._output.waits:
                self._writer.note(self._output, 0)

    @property
    def index(self) -> int:
        """The index of the next chunk: where another producer continues."""
        self._keep_left()
        return self._output.index + len(self._parts or ())

    @property
    def upstream(self) -> Any:
        """What the last chunk was made from, None if nothing is known: see together()."""
        self._keep_left()
        return self._upstream

    @contextmanager
    def together(self, upstream: Any) -> Iterator[None]:
        """
        Write all chunks of a block in one transaction, and what they are made from.

        An error drops them. `upstream` is a JSON value; the next producer finds the last one in
        its `upstream`.
        """
        self._keep_left()
        self._parts = []
        try:
            yield
        except GeneratorExit:
            # A loop was left, by `break` or by an error: what follows shows which.
            self._left, self._parts = (self._parts, upstream), None
            raise
        except BaseException:
            self._parts = None
            raise
        self._left, self._parts = (self._parts, upstream), None
        self._keep_left()

    def _keep_left(self) -> None:
        """Write what was written together, in a block that is over."""
        if self._left is None:
            return
        (parts, upstream), self._left = self._left, None
        self._check_process()
        with self._writer.changed:
            self._check()
            is_first, size = self._output.is_new, 0
            self._output.set_upstream(upstream)  # first: it refuses what is not JSON
            for part, is_text in parts:
                self._output.add(part, is_text)
                size += len(part)
            self._upstream = upstream
            self._writer.note(self._output, size, is_first)

    def rest_of(self, items: Iterable[T]) -> Iterator[T]:
        """
        Return the items that are not written yet, if each is one chunk.

        For a producer that begins again after another one, and would write the same again.
        """
        return islice(items, self.index, None)

    # What it is notified of ------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """
        Whether the run is asked to stop, or another producer has it.

        A producer that ends after it has read that ends a stopped run.
        """
        self._saw_stop = self._saw_stop or self._output.stopping
        return self._output.stopping

    def wait_for_stop(self, timeout_s: float | None = None) -> bool:
        """Wait until `stopping` is true, or for `timeout_s`; return it."""
        with self._writer.changed:
            self._writer.changed.wait_for(lambda: self._output.stopping, timeout_s)
        return self.stopping

    def flush(self, timeout_s: float | None = None) -> None:
        """
        Wait until all that was written is committed.

        Raises RunStopped, RunTaken and RunEnded, and TimeoutError after `timeout_s` (None:
        RUNS_LEASE_S).
        """
        self._keep_left()
        self._check_process()
        output, until = self._output, conf.get("RUNS_LEASE_S") if timeout_s is None else timeout_s
        with self._writer.changed:
            if output.waits:
                self._writer.note(output, 0, is_urgent=True)
            if not self._writer.changed.wait_for(lambda: not output.waits, until):
                raise TimeoutError(f"The output of the run {self.run.id!r} was not written.")
            if output.error is not None:
                raise output.error

    # Within ---------------------------------------------------------------------------

    def _add(self, part: str, is_text: bool) -> None:
        self._keep_left()
        self._check_process()
        with self._writer.changed:
            self._check()
            if self._output.size > MAX_WAITING:
                self._wait_for_room()
            if self._parts is not None:
                self._parts.append((part, is_text))
                return
            is_first = self._output.is_new
            self._output.add(part, is_text)
            self._writer.note(self._output, len(part), is_first)

    def _check_process(self) -> None:
        # Before the lock, which may be held forever in a child.
        if self._is_in_child():
            raise RunTaken(self._output.held.run_id, "the parent process")

    def _is_in_child(self) -> bool:
        return writer.forks != self._forks

    def _check(self) -> None:
        output = self._output
        if output.stopping:
            self._saw_stop = True
            raise output.error or RunStopped(output.held.run_id)
        if output.has_end:
            raise RunEnded(output.held.run_id, "its block is over")

    def _wait_for_room(self) -> None:
        """Wait until the database has what was written: for the lease at most."""
        output = self._output
        if not self._writer.changed.wait_for(
            lambda: output.size <= MAX_WAITING or output.stopping, conf.get("RUNS_LEASE_S")
        ):
            raise TimeoutError(f"The output of the run {self.run.id!r} cannot be written.")
        self._check()

    def _end(self, ending: ends.Ending) -> None:
        """End the run; waits until that is committed, or RUNS_LEASE_S."""
        self._begin_end(ending)
        with self._writer.changed:
            self._writer.changed.wait_for(lambda: self._output.is_over, conf.get("RUNS_LEASE_S"))
        self._check_end()

    def _begin_end(self, ending: ends.Ending) -> None:
        with self._writer.changed:
            if not self._output.is_over:
                self._output.set_end(*ending)
                self._writer.note(self._output, 0, is_urgent=True)

    def _check_end(self) -> None:
        if not self._output.is_over:
            raise DatabaseError(f"The end of the run {self.run.id!r} was not written.")

    def _ending(self, error: BaseException | None) -> ends.Ending | None:
        """Return how the run ends after the producer's block; None where another has it."""
        if self._is_in_child() or self._output.error is not None:
            return None
        if error is None:
            self._keep_left()
            return ends.stopped() if self._saw_stop else ends.finished(self.result)
        is_error = isinstance(error, Exception) and not ends.is_stop(error, self.run.id)
        if is_error and self.may_retry(error):
            return ends.released(ends.full_text(error), self.owes_task())
        if not isinstance(error, Exception) and self._output.held.is_repeated:
            return ends.given_up()
        return ends.of_error(error, self.run.id)

    def _raise_if_taken(self) -> None:
        """Raise that another producer has the run: what was written last is not kept."""
        error = self._output.error
        if error is not None and not isinstance(error, RunStopped):
            raise error

    def _close(self) -> bool:
        """Release the run; return whether its object has what its row has."""
        if self._is_in_child():
            return True  # the parent's
        self._writer.forget(self._output)
        if not self._output.copy_to(self.run):
            return False
        self.run.upstream = self._upstream
        return True

    def _refresh(self) -> None:
        with contextlib.suppress(DatabaseError, Run.DoesNotExist):
            self.run.refresh_from_db()


def _number(value: Any) -> float | None:
    """Return a number of a progress as JSON has it. Raises TypeError and ValueError."""
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not abs(value) < MAX_NUMBER:
        raise ValueError(f"The progress {value!r} is not a number: give a finite one, or None.")
    return int(value) if isinstance(value, int) else float(value)


@contextmanager
def produce(run: Run) -> Iterator[Out]:
    """
    Take a run's lease, and give what its output is written to; end the run afterwards.

    The run is finished at the end, and failed by an exception, which is raised. RunStopped ends
    it quietly. RunTaken is raised and changes nothing. What ends the process (KeyboardInterrupt,
    SystemExit) makes it lost: another producer can continue.

    Raises RunTaken while another producer's lease lasts, RunStopped and RunEnded.
    """
    out = Out(run, *_begin(run))
    try:
        try:
            yield out
            ending = out._ending(None)  # a result that is not JSON fails the run
        except BaseException as error:
            if (ending := out._ending(error)) is not None:
                with _logged(run):
                    out._end(ending)
            if not ends.is_stop(error, run.id):
                raise
        else:
            if ending is not None:
                out._end(ending)
    finally:
        if not out._close():
            out._refresh()
    out._raise_if_taken()


class AsyncOut(Out):
    """As Out, for a coroutine: write(), send() and progress() are not awaited, and never wait."""

    def __init__(self, run: Run, held: Held, its_writer: writer.Writer | writer.Here) -> None:
        super().__init__(run, held, its_writer)
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._answered = asyncio.Event()
        self._waiters = 0
        self._output.on_change = self._on_change
        self._on_change()

    async def stopped(self) -> None:
        """Return once the run is asked to stop, or another producer has it."""
        await self._stopped.wait()

    async def flush(self, timeout_s: float | None = None) -> None:  # type: ignore[override]
        """As Out.flush()."""
        self._keep_left()
        with self._writer.changed:
            if self._output.waits:
                self._writer.note(self._output, 0, is_urgent=True)
        timeout_s = conf.get("RUNS_LEASE_S") if timeout_s is None else timeout_s
        if not await self._until(lambda: not self._output.waits, timeout_s):
            raise TimeoutError(f"The output of the run {self.run.id!r} was not written.")
        if self._output.error is not None:
            raise self._output.error

    async def drain(self) -> None:
        """Wait until there is room for another write(), mostly not at all. Raises as flush()."""
        if self._output.size > MAX_WAITING // 2:
            await self.flush()

    async def _aend(self, ending: ends.Ending) -> None:
        self._begin_end(ending)
        await self._until(lambda: self._output.is_over, conf.get("RUNS_LEASE_S"))
        self._check_end()

    async def _until(self, is_so: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is so; return whether it is."""
        if isinstance(self._writer, writer.Here):
            await sync_to_async(self._writer.flush)()
            return is_so()
        self._waiters += 1
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await within(timeout_s, self._changes(is_so))
        finally:
            self._waiters -= 1
        return is_so()

    async def _changes(self, is_so: Callable[[], bool]) -> None:
        while True:
            self._answered.clear()
            if is_so():
                return
            await self._answered.wait()

    def _on_change(self) -> None:
        """Called on the writer's thread, for each flush: it takes a turn of the loop for few."""
        stops = self._output.stopping and not self._stopped.is_set()
        if not (stops or self._waiters):
            return
        with contextlib.suppress(RuntimeError):  # the loop has closed
            if stops:
                self._loop.call_soon_threadsafe(self._stopped.set)
            if self._waiters:
                self._loop.call_soon_threadsafe(self._answered.set)

    def _wait_for_room(self) -> None:
        raise BufferError(
            f"{MAX_WAITING} characters of the run {self.run.id!r} wait to be written: "
            "`await out.drain()` after each write()."
        )


@asynccontextmanager
async def aproduce(run: Run) -> AsyncIterator[AsyncOut]:
    """As produce(), in a coroutine. A cancelled one makes the run lost: another can continue."""
    begun, cancelled = await _abegin(run)
    out = AsyncOut(run, *begun)
    try:
        try:
            if cancelled is not None:
                raise cancelled
            yield out
            ending = out._ending(None)
        except BaseException as error:
            if (ending := out._ending(error)) is not None:
                with _logged(run):
                    await out._aend(ending)
            if not ends.is_stop(error, run.id):
                raise
        else:
            if ending is not None:
                await out._aend(ending)
    finally:
        if not out._close():
            await sync_to_async(out._refresh)()
    out._raise_if_taken()


@contextmanager
def _logged(run: Run) -> Iterator[None]:
    """Log that an end cannot be written, where the caller raises what caused the end."""
    try:
        yield
    except DatabaseError:
        logger.exception("the end of a run was not written run=%s", run.id)


async def _abegin(run: Run) -> tuple[Begun, asyncio.CancelledError | None]:
    """As _begin(); return also that the coroutine was cancelled: a thread takes the lease then."""
    beginning = asyncio.ensure_future(sync_to_async(_begin)(run, is_async=True))
    try:
        return await asyncio.shield(beginning), None
    except asyncio.CancelledError as error:
        with contextlib.suppress(EricError, DatabaseError):
            return await beginning, error
        raise


def _begin(run: Run, is_async: bool = False) -> Begun:
    """
    Take a run's lease, and return what writes its output.

    That is the process's thread, unless it sees nothing of the run.
    """
    is_here = connections[database()].in_atomic_block or log_dialect().is_in_memory
    return take(run), writer.Here(is_async) if is_here else writer.current()
