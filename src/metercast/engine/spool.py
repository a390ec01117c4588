"""Device ids on disk, while they are checked and until the store has taken them: any number in bounded memory."""

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import overload

import msgspec

from metercast.domain.problem import Unavailable
from metercast.engine.images import ImageSpool

_PAGE = 10_000
_PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "temp_store=MEMORY", "cache_size=-8192")
_CREATE = (
    "CREATE TABLE ids (position INTEGER PRIMARY KEY, line INTEGER NOT NULL, id TEXT NOT NULL)",
    "CREATE UNIQUE INDEX by_id ON ids (id)",
)
_ADD_RUN = "INSERT OR IGNORE INTO ids SELECT ?1 + key, ?2 + key, value FROM json_each(?3)"
_ADD = "INSERT OR IGNORE INTO ids VALUES (?, ?, ?)"
_REPEATED = """
SELECT given.key, ids.line FROM json_each(?1) AS given JOIN ids ON ids.id = given.value
WHERE ids.position <> ?2 + given.key ORDER BY given.key LIMIT ?3
"""
_SLICE = """
SELECT json_group_array(id) FROM (SELECT id FROM ids WHERE position >= ? AND position < ? ORDER BY position)
"""
_LINE = "SELECT line FROM ids WHERE id = ?"


class Repeats(msgspec.Struct, frozen=True):
    """Ids that were there already: `first` are up to so many of `count`, by index, with the earlier line."""

    count: int
    first: list[tuple[int, int]]


class DeviceSpool(Sequence[str]):
    """Unique device ids in their order, on a file of its own that has no name any more.

    Its calls block, and may come from any thread. Raises Unavailable where the disk says no. After an id that was
    there already the others are only checked: what is read then has holes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._count = 0

    def add(self, ids: list[str], lines: list[int], most: int) -> Repeats:
        """Adds ids with their lines (ascending); those that were there already, up to `most` of them in full."""
        if not ids:
            return Repeats(0, [])
        text = msgspec.json.encode(ids).decode()
        with self._using() as connection:
            first, self._count = self._count, self._count + len(ids)
            if lines[-1] - lines[0] == len(lines) - 1:
                added = connection.execute(_ADD_RUN, (first, lines[0], text)).rowcount
            else:
                positions = range(first, self._count)
                added = connection.executemany(_ADD, zip(positions, lines, ids, strict=True)).rowcount
            if added == len(ids):
                return Repeats(0, [])
            return Repeats(len(ids) - added, connection.execute(_REPEATED, (text, first, most)).fetchall())

    def line_of(self, device_id: str) -> int:
        """The line on which the id stands. KeyError where there is none."""
        with self._using() as connection:
            row = connection.execute(_LINE, (device_id,)).fetchone()
        if row is None:
            raise KeyError(device_id)
        line: int = row[0]
        return line

    def close(self) -> None:
        """Gives the disk space back. May be called again."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, int):
            return self._read(range(self._count)[index], range(self._count)[index] + 1)[0]
        start, stop, step = index.indices(self._count)
        return self._read(start, stop) if step == 1 else [self[each] for each in range(start, stop, step)]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, self._count, _PAGE):
            yield from self[start : start + _PAGE]

    def _read(self, start: int, stop: int) -> list[str]:
        with self._using() as connection:
            (text,) = connection.execute(_SLICE, (start, stop)).fetchone()
        return msgspec.json.decode(text, type=list[str])

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise Unavailable("the spool is closed")
            try:
                if self._connection is None:
                    self._connection = _create(self._directory)
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise Unavailable(f"cannot spool the devices: {error}") from error


class Spools:
    """The folder of the spools, and how many there may be at a time. What an earlier process left is swept."""

    def __init__(self, directory: Path, most: int) -> None:
        self._directory = directory
        self._most = most
        self._open = 0
        for path in directory.glob("*"):
            with suppress(OSError):
                path.unlink()

    @contextmanager
    def image(self) -> Iterator[ImageSpool]:
        """A new one for an image. Raises Unavailable where too many are open."""
        with self._place():
            spool = ImageSpool(self._directory)
            try:
                yield spool
            finally:
                spool.close()

    @contextmanager
    def open(self) -> Iterator[DeviceSpool]:
        """A new one, which takes no disk before its first id. Raises Unavailable where too many are open."""
        with self._place():
            spool = DeviceSpool(self._directory)
            try:
                yield spool
            finally:
                spool.close()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._open >= self._most:
            raise Unavailable(f"{self._most} large bodies are being received already: try again")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


def _create(directory: Path) -> sqlite3.Connection:
    """A database on a file of mode 0600 that is unlinked at once: nothing is left, however the process ends."""
    directory.mkdir(mode=0o700, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=directory)
    try:
        os.close(descriptor)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            for statement in _CREATE:
                connection.execute(statement)
            connection.execute("BEGIN")  # never committed: nothing is written that needs not be
        except BaseException:
            connection.close()
            raise
    finally:
        Path(path).unlink(missing_ok=True)
    return connection
