"""One SQLite file: a writer thread that commits in groups, readers with snapshots of their own, and the file's lock.

Calls that wait for the writer at the same time share one transaction, each under a savepoint of its own, and so one
fsync; none returns before the commit.
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from metercast.store.errors import StoreInUse, StoreUnavailable
from metercast.store.sqlite.migrations import migrate

T = TypeVar("T")
Clock = Callable[[], datetime]

MAX_WAITING_WRITES = 10_000
MAX_GROUP = 64
READERS = 2


class Database:
    """`write` and `read` run a function with a connection on a thread; they are the only way in."""

    def __init__(self, path: Path, clock: Clock, busy_seconds: float) -> None:
        self.clock = clock
        self._path = path
        self._busy_seconds = busy_seconds
        self._lock = _lock_file(path)
        try:
            self._writer_connection = self._connect()
            try:
                migrate(self._writer_connection)
            except BaseException:
                self._writer_connection.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")
        self._writer = threading.Thread(target=self._write_loop, name="sqlite-writer", daemon=True)
        self._writer.start()

    @classmethod
    async def open(cls, path: Path, clock: Clock, busy_seconds: float = 5.0) -> Self:
        """Creates or migrates the file. Raises StoreInUse, StoreTooNew or StoreUnavailable."""
        try:
            return await asyncio.to_thread(cls, path, clock, busy_seconds)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot open {path}: {error}") from error

    async def write(self, work: Callable[[sqlite3.Connection, datetime], T]) -> T:
        """Runs `work(connection, now)` in a durable transaction. What it raises rolls it back, alone."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._jobs.qsize() >= MAX_WAITING_WRITES:
            raise StoreUnavailable(f"{MAX_WAITING_WRITES} writes are waiting already")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        self._jobs.put(job)
        result: T = await job.future
        return result

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work(connection)` on one consistent snapshot."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def close(self) -> None:
        """Waits for every accepted write."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._reader_connections:
            connection.close()
        with contextlib.suppress(sqlite3.Error):
            self._writer_connection.execute("PRAGMA optimize")
        self._writer_connection.close()
        os.close(self._lock)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, self._busy_seconds, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA temp_store=MEMORY")  # what a savepoint keeps would else go through a file
        connection.execute("PRAGMA journal_size_limit=67108864")
        return connection

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._connect()
                connection.execute("PRAGMA query_only=ON")
                self._reader_connections.append(connection)
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"the database can't be read now: {error}") from error

    def _write_loop(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            group = [job]
            last = False
            while len(group) < MAX_GROUP and not last:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                last = more is None
                if more is not None:
                    group.append(more)
            self._run_group(group)
            if last:
                return

    def _run_group(self, group: list["_Job"]) -> None:
        connection = self._writer_connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            now = self.clock()
            for job in group:
                job.run(connection, now)
                if not connection.in_transaction:
                    raise sqlite3.OperationalError("the transaction was rolled back")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            for job in group:
                job.result = None
                job.error = StoreUnavailable(f"the database can't be written now: {error}")
        for loop in {job.loop for job in group}:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
                loop.call_soon_threadsafe(_resolve, [job for job in group if job.loop is loop])


class _Job:
    """One call to `write`, and what came of it."""

    __slots__ = ("error", "future", "loop", "result", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection, datetime], Any],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
    ) -> None:
        self.work = work
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection, now: datetime) -> None:
        """Under a savepoint of its own; whatever it raises rolls back this job alone."""
        connection.execute("SAVEPOINT job")
        try:
            self.result = self.work(connection, now)
        except sqlite3.OperationalError as error:
            self.error = StoreUnavailable(f"the database can't be written now: {error}")
            self.error.__cause__ = error
        except BaseException as error:  # whatever it is, it belongs to the caller and not to this thread
            self.error = error
        if connection.in_transaction:
            connection.execute("ROLLBACK TO job" if self.error else "RELEASE job")


def undo(connection: sqlite3.Connection) -> None:
    """Undoes what the call that is running has written so far, for it to try another way."""
    connection.execute("ROLLBACK TO job")


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)


def _lock_file(path: Path) -> int:
    """Holds `path`.lock for this process; the kernel gives it up when the process ends, however it ends."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreInUse(f"{path} is in use by another process") from None
    return descriptor
