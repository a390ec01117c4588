"""A database server that is a child of this process: it ends with it, however that ends, and leaves nothing on disk."""

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


class NotStarted(Exception):
    """With what the server said."""


class ChildServer(ABC):
    """One server and its data, in a directory of its own below `parent`. `stops` is its signal for an orderly end."""

    def __init__(self, name: str, parent: Path | None, stops: signal.Signals) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"metercast-{name}-", dir=parent))
        self._name = name
        self._stops = stops
        self._log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.delete)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @abstractmethod
    def start(self) -> None:
        """On the same port and data as before; returns when it answers. Raises NotStarted."""

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        """As its operator would: everything is written."""
        self._end(self._stops)

    def kill(self) -> None:
        """SIGKILL to the whole server, in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def delete(self) -> None:
        """Ends the server and deletes its data. May be called twice; it is called when this process ends."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.delete)

    def _launch(self, command: Sequence[str | Path], ready: Callable[[], bool], **options: Any) -> None:
        """Returns when it is ready."""
        assert self._process is None
        with self._log.open("ab") as log:
            options |= {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "cwd": self.directory}
            process = _starter.submit(lambda: subprocess.Popen[bytes](command, preexec_fn=_end_with_parent, **options))
            self._process = process.result()
        deadline = time.monotonic() + SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NotStarted(f"{self._name} did not start:\n{self.log[-4000:]}")
            time.sleep(0.01)

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
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        deadline = time.monotonic() + SECONDS
        while any(_lives(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.005)


# A child ends with the thread that started it: this one lives as long as the process does.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starts-servers")

_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the child: SIGQUIT, an immediate shutdown, when the process that started it ends, however it ends.

    Whoever runs the tests in the background of a shell has it ignored, and so would the child.
    """
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT))


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
