"""A MongoDB-wire server for tests: `secantusdb`, which has an environment and a process of its own.

It listens on a free loopback port and ends with the process that started it. Where METERCAST_TEST_MONGODB_URL names a
server of the user's own, that is used, and none is started. Each test takes a database of its own.
"""

import atexit
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

URL_VARIABLE = "METERCAST_TEST_MONGODB_URL"
SECONDS = 60.0
# This server is slow where a machine is busy, which is no fault of who asks it.
PATIENT = "timeoutMS=120000&socketTimeoutMS=120000"
_PR_SET_PDEATHSIG = 1
_LISTENS = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
_PROGRAM = Path(sys.prefix) / "mongodb-server" / "bin" / "secantusd-py"


class MongoNotStarted(Exception):
    """With what the server said."""


class MongoServer:
    """One server and its data, in a directory of its own below `directory`."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="metercast-mongodb-", dir=directory))
        self._log = self._directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0  # any that is free, at the first start

    @classmethod
    def start(cls, directory: Path | None = None) -> Self:
        """A new server that answers. It is stopped and its data are deleted when this process ends."""
        server = cls(directory)
        atexit.register(server.delete)
        try:
            server.run()
        except BaseException:
            server.delete()
            raise
        return server

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def url(self, database: str) -> str:
        return f"mongodb://127.0.0.1:{self.port}/{database}?directConnection=true&{PATIENT}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        return self.url(f"test_{uuid.uuid4().hex}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def run(self) -> None:
        """On the same port and data as before; returns when it listens."""
        assert self._process is None
        if not _PROGRAM.exists():
            raise MongoNotStarted(f"{_PROGRAM} is missing: `make test` makes the environment of the MongoDB server")
        config = self._directory / "secantusd.toml"
        config.touch()  # none of the user's is looked for
        command: list[str | Path] = [
            _PROGRAM, "--config", config, "--host", "127.0.0.1", "--port", str(self.port),
            "--storage-path", self._directory / "data", "--log-level", "INFO", "--cache-size", "256M",
        ]  # fmt: skip
        said = len(self.log)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory,
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while (listens := _LISTENS.search(self.log, said)) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise MongoNotStarted(f"the MongoDB server did not start on port {self.port}:\n{self.log[-4000:]}")
            time.sleep(0.01)
        self.port = int(listens[1])

    def stop(self) -> None:
        """As its operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.run()

    def delete(self) -> None:
        """Ends the server and deletes its data. May be called twice."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.delete)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class UsersServer:
    """The user's own, at METERCAST_TEST_MONGODB_URL. It is neither started nor stopped."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    @property
    def address(self) -> tuple[str, int]:
        return self._url.hostname or "127.0.0.1", self._url.port or 27017

    def url(self, database: str) -> str:
        return urlunsplit(self._url._replace(path=f"/{database}"))

    def new_database(self) -> str:
        return self.url(f"metercast_test_{uuid.uuid4().hex}")


_shared: MongoServer | UsersServer | None = None


def shared() -> MongoServer | UsersServer:
    """One server for all tests of this process: the user's own, or one that is started now."""
    global _shared
    if _shared is None:
        url = os.environ.get(URL_VARIABLE)
        _shared = UsersServer(url) if url else MongoServer.start()
    return _shared


_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the child: SIGTERM when the process that started it ends, however it ends."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
