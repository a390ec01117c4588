"""Where traces lie: a directory of bounded size, in which the oldest make room for the next."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

MAX_SESSIONS: Final = 1000
SHARE: Final = 8  # one session may take that part of the whole
_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[A-Za-z0-9._-]{1,64}-\d{1,9}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIXES: Final = (".log", ".pcap")


class TraceFiles:
    """The two files of one session. OSError where one can't be written."""

    def __init__(self, name: str, log: BinaryIO, pcap: BinaryIO, limit: int) -> None:
        self.name = name
        self.log = log
        self.pcap = pcap
        self.limit = limit

    @property
    def size(self) -> int:
        return self.log.tell() + self.pcap.tell()

    @property
    def is_full(self) -> bool:
        return self.size >= self.limit

    def close(self) -> None:
        self.log.close()
        self.pcap.close()


class TraceDirectory:
    """`limit` octets and `max_sessions` at most. Only files that are named as its own are ever deleted."""

    def __init__(
        self,
        path: Path,
        limit: int,
        *,
        max_sessions: int = MAX_SESSIONS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Makes the directory, for its owner only, and finds what is in it. Raises OSError."""
        self.path = path
        self.session_limit = max(limit // SHARE, 1)
        self._limit = limit
        self._max_sessions = max_sessions
        self._now = now
        self._number = 0
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._closed = self._found()  # octets by name, oldest first
        self._open: set[str] = set()

    @property
    def size(self) -> int:
        """Octets that are, or may yet be, in use."""
        return sum(self._closed.values()) + len(self._open) * self.session_limit

    def begin(self, subject: str) -> TraceFiles | None:
        """New files for a session about `subject`; None where those that are open leave no room. Raises OSError."""
        while self._closed and not self._has_room():
            self._delete(next(iter(self._closed)))
        if not self._has_room():
            return None
        self._number += 1
        safe = _UNSAFE.sub("_", subject)[:64].strip("_") or "session"
        name = f"{self._now():%Y%m%dT%H%M%S.%fZ}-{safe}-{self._number}"
        log = self._create(name + ".log")
        try:
            pcap = self._create(name + ".pcap")
        except OSError:
            log.close()
            raise
        self._open.add(name)
        return TraceFiles(name, log, pcap, self.session_limit)

    def end(self, files: TraceFiles) -> None:
        """Closes them. Raises OSError."""
        try:
            files.close()
        finally:
            self._open.discard(files.name)
            self._closed[files.name] = self._size_of(files.name)

    def _has_room(self) -> bool:
        sessions = len(self._closed) + len(self._open)
        return self.size + self.session_limit <= self._limit and sessions < self._max_sessions

    def _create(self, name: str) -> BinaryIO:
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "wb")

    def _delete(self, name: str) -> None:
        for suffix in _SUFFIXES:
            (self.path / (name + suffix)).unlink(missing_ok=True)
        del self._closed[name]

    def _found(self) -> dict[str, int]:
        names = {each.stem for each in self.path.iterdir() if each.suffix in _SUFFIXES and _NAME.fullmatch(each.stem)}
        return {name: self._size_of(name) for name in sorted(names)}

    def _size_of(self, name: str) -> int:
        total = 0
        for suffix in _SUFFIXES:
            path = self.path / (name + suffix)
            if path.is_file():
                total += path.stat().st_size
        return total
