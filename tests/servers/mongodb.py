"""A MongoDB-wire server for tests: `secantusdb`, which has an environment and a process of its own.

It listens on a free loopback port and ends with the process that started it. Where METERCAST_TEST_MONGODB_URL names a
server of the user's own, that is used, and none is started. Each test takes a database of its own.
"""

import os
import re
import signal
import sys
import uuid
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.servers.process import ChildServer, NotStarted

URL_VARIABLE = "METERCAST_TEST_MONGODB_URL"
# This server is slow where a machine is busy, which is no fault of who asks it.
PATIENT = "timeoutMS=120000&socketTimeoutMS=120000"
_LISTENS = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
_PROGRAM = Path(sys.prefix) / "mongodb-server" / "bin" / "secantusd-py"


class MongoServer(ChildServer):
    """Listens on any port that is free, from its first start on the same."""

    def __init__(self, parent: Path | None = None) -> None:
        super().__init__("mongodb", parent, signal.SIGTERM)
        self.port = 0

    @classmethod
    def started(cls, parent: Path | None = None) -> Self:
        """A new server that answers."""
        server = cls(parent)
        try:
            server.start()
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

    def start(self) -> None:
        if not _PROGRAM.exists():
            raise NotStarted(f"{_PROGRAM} is missing: `make test` makes the environment of the MongoDB server")
        config = self.directory / "secantusd.toml"
        config.touch()  # none of the user's is looked for
        command: list[str | Path] = [
            _PROGRAM, "--config", config, "--host", "127.0.0.1", "--port", str(self.port),
            "--storage-path", self.directory / "data", "--log-level", "INFO", "--cache-size", "256M",
        ]  # fmt: skip
        said = len(self.log)
        self._launch(command, lambda: self._listens(said))

    def _listens(self, said: int) -> bool:
        """Since its log was `said` long."""
        listens = _LISTENS.search(self.log, said)
        if listens is not None:
            self.port = int(listens[1])
        return listens is not None


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
        _shared = UsersServer(url) if url else MongoServer.started()
    return _shared
