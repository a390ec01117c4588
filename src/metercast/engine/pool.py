"""The pool of session loops: each runs one session after another, so that a session costs no task of its own."""

import asyncio
from collections.abc import Awaitable, Callable

from metercast.engine.session import Session


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
            self._loops.add(asyncio.create_task(self._loop(), name="session"))

    async def close(self) -> None:
        """Cancels what still runs."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()

    async def _loop(self) -> None:
        while True:
            self._idle += 1
            try:
                session = await self._ready.get()
            finally:
                self._idle -= 1
            await self._run(session)
