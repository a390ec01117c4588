"""The demo's processes: the simulator and the server, each for real, and both gone when the demo is."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from metercast.cli.exits import CommandFailed

START_SECONDS = 60.0
STOP_SECONDS = 8.0
TAIL_LINES = 5
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """`metercast ARGUMENTS` as a process in a session of its own, so that Ctrl-C reaches only the demo.

    Its standard input stays open as long as this process lives; its log goes to a file.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, name: str, arguments: Sequence[str], environ: Mapping[str, str], directory: Path) -> Self:
        log = directory / f"{name}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "metercast",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=_clean_environment() | dict(environ),
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        return cls(name, process, log)

    async def first_line(self) -> str:
        """What it says when it is ready; CommandFailed where it ends or takes too long before that."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise CommandFailed(f"the {self.name} did not start: {self.tail() or 'it said nothing'}")
        return line.decode().strip()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL where that does not help in time; the exit code."""
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    return await self._process.wait()
            except TimeoutError:
                self._signal(signal.SIGKILL)
        return await self._process.wait()

    def kill(self) -> None:
        """At once, without waiting; nothing where it has ended."""
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)

    def tail(self) -> str:
        """The last lines of its log, on one line."""
        lines = self._log.read_text(errors="replace").splitlines()
        return " | ".join(lines[-TAIL_LINES:])

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


def _clean_environment() -> dict[str, str]:
    """Ours without Metercast's settings: the demo is the same whatever is set."""
    return {name: value for name, value in os.environ.items() if not name.startswith("METERCAST_")}


def _end_with_parent() -> None:
    """Runs in the child before it begins: the kernel ends it when this process ends, however that is."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
