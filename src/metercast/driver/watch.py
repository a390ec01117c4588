"""Time limits of sessions: one timer for all of them, instead of some for each."""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

from metercast.driver.errors import TimedOut
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import Transport

T = TypeVar("T")

_LONGEST_BEAT = 0.25


class Watchdog:
    """Looks at the deadlines of all sessions at a steady beat, a quarter of the shortest limit at the most."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        shortest = min(timeouts.connect, timeouts.progress, timeouts.session, timeouts.release)
        self._beat = min(_LONGEST_BEAT, shortest / 4)
        self._watches: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._looked = 0.0

    def watch(self, timeouts: Timeouts | None = None) -> "Watch":
        """The limits of one session that begins now, its own where `timeouts` are given; `end` it."""
        loop = asyncio.get_running_loop()
        watch = Watch(self, loop, timeouts or self.timeouts)
        self._watches.add(watch)
        if self._timer is None:
            self._looked = loop.time()
            self._timer = loop.call_later(self._beat, self._look, loop)
        return watch

    def forget(self, watch: "Watch") -> None:
        self._watches.discard(watch)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        passed, self._looked = now - self._looked, now
        for watch in tuple(self._watches):
            watch.quiet += passed
            if watch.quiet >= watch.patience or now >= watch.end_at:
                watch.expire(now)
        if self._watches:
            self._timer = loop.call_later(self._beat, self._look, loop)
        else:
            self._timer = None


class Watch:
    """Interrupts a session that connects too long, whose meter is silent too long, or whose time is over.

    `quiet` counts the seconds since something came forward: setting it to 0 is all that a session pays for its limits.
    """

    __slots__ = ("_expired", "_loop", "_task", "_timeouts", "_transport", "_watchdog", "end_at", "patience", "quiet")

    def __init__(self, watchdog: Watchdog, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._watchdog = watchdog
        self._loop = loop
        self._transport: Transport | None = None
        self._task: asyncio.Task[Any] | None = None
        self._expired = False
        self.end_at = loop.time() + timeouts.session
        self.patience = math.inf
        self.quiet = 0.0

    async def connecting(self, connect: Coroutine[Any, Any, T]) -> T:
        """What `connect` gives. TimeoutError after the limit for connecting; `connect` is cancelled then."""
        task = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        self._task = task
        self._allow(self._timeouts.connect)
        try:
            return await connect
        except asyncio.CancelledError:
            if self._expired and task.uncancel() <= cancelled_before:
                raise TimeoutError from None
            raise
        finally:
            self._task = None
            self._expired = False

    def attach(self, transport: Transport) -> None:
        """From now on the silence of `transport` is limited."""
        self._transport = transport
        self._allow(self._timeouts.progress)

    def attach_release(self) -> None:
        """From now on the short limit of the release holds."""
        self._allow(self._timeouts.release)

    def end(self) -> None:
        self._transport = None
        self._watchdog.forget(self)

    def progress(self) -> None:
        """The meter spoke."""
        self.quiet = 0.0

    async def sleep(self, seconds: float) -> None:
        """Waits in which no answer is due; TimedOut where the session's time ends before."""
        left = self.end_at - self._loop.time()
        patience = self.patience
        self._allow(math.inf)
        await asyncio.sleep(min(seconds, max(left, 0.0)))
        if seconds >= left:
            raise self._over()
        self._allow(patience)

    def expire(self, now: float) -> None:
        """The limit has passed. What is connected or tried after the session's time is over ends at the next beat."""
        if self._task is not None:
            if not self._expired:
                self._expired = True
                self._task.cancel()
        elif self._transport is not None:
            over = now >= self.end_at
            self._transport.interrupt(self._over() if over else TimedOut(f"no answer for {self.patience:g} s"))
        self._allow(math.inf)

    def _allow(self, patience: float) -> None:
        self.patience = patience
        self.quiet = 0.0

    def _over(self) -> TimedOut:
        return TimedOut(f"the session took longer than {self._timeouts.session:g} s")
