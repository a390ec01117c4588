"""The pool of session loops: each runs one session after another, so that a session costs no task of its own."""

import asyncio
from collections import deque
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
        self._ready: deque[Session] = deque()  # bounded by the slots that `start` is called for
        self._idle: deque[asyncio.Future[Session]] = deque()
        self._loops: set[asyncio.Task[None]] = set()

    def start(self, session: Session) -> None:
        while self._idle:
            loop = self._idle.popleft()
            if not loop.done():
                loop.set_result(session)
                return
        self._ready.append(session)
        if len(self._loops) < self._limit:
            task = asyncio.create_task(self._loop(), name="session")
            self._loops.add(task)
            task.add_done_callback(self._loops.discard)

    async def close(self) -> None:
        """Cancels what still runs."""
        for loop in self._loops:
            loop.cancel()
        if self._loops:
            _, stuck = await asyncio.wait(self._loops, timeout=_CLOSE_SECONDS)
            if stuck:
                log.error("pool.sessions_ignore_cancel", sessions=len(stuck))

    async def _loop(self) -> None:
        running = asyncio.get_running_loop()
        while True:
            if self._ready:
                session = self._ready.popleft()
            else:
                idle = running.create_future()
                self._idle.append(idle)
                session = await idle
            await self._run(session)
