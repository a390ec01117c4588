"""The pool of session loops: each runs one session after another, so that a session costs no task of its own."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from metercast.engine.session import Session

log = structlog.get_logger()

# How long cancelled sessions may take to clean up.
_CLOSE_SECONDS = 5.0


class SessionPool:
    """At most `limit` loops, started as they are needed. `run` must not raise."""

    def __init__(self, limit: int, run: Callable[[Session], Awaitable[None]]) -> None:
        self._limit = limit
        self._run = run
        self._ready: asyncio.Queue[Session] = asyncio.Queue()  # bounded by the slots that `start` is called for
        self._loops: set[asyncio.Task[None]] = set()
        self._idle = 0

    def start(self, session: Session) -> None:
        self._ready.put_nowait(session)
        if self._idle < self._ready.qsize() and len(self._loops) < self._limit:
            loop = asyncio.create_task(self._loop(), name="session")
            self._loops.add(loop)
            loop.add_done_callback(self._loops.discard)

    async def close(self) -> None:
        """Cancels what still runs."""
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            _, stuck = await asyncio.wait(self._loops, timeout=_CLOSE_SECONDS)
            if stuck:
                log.error("pool.sessions_ignore_cancel", sessions=len(stuck))

    async def _loop(self) -> None:
        while True:
            self._idle += 1
            try:
                session = await self._ready.get()
            finally:
                self._idle -= 1
            await self._run(session)
