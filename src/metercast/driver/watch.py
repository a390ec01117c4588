"""One coarse timer for a whole session, instead of one for each answer."""

import asyncio

from metercast.driver.errors import TimedOut
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import Transport


class Watch:
    """Interrupts the transport with TimedOut when it was silent too long or the session's time is over.

    The timer is set once; when it fires too early, because the meter spoke meanwhile, it is set anew for the rest.
    """

    __slots__ = ("_end", "_last", "_loop", "_silence", "_timeouts", "_timer", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._end = loop.time() + timeouts.session
        self._silence = timeouts.progress
        self._last = 0.0
        self._transport: Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def remaining(self) -> float:
        """Seconds left of the session."""
        return self._end - self._loop.time()

    @property
    def connect_seconds(self) -> float:
        """How long connecting may take."""
        return max(min(self._timeouts.connect, self.remaining), 0.0)

    def attach(self, transport: Transport) -> None:
        """From now on `transport` is watched."""
        self._transport = transport
        self._expect(self._timeouts.progress)

    def attach_release(self) -> None:
        """From now on the short limit of the release holds."""
        self._expect(self._timeouts.release)

    def detach(self) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def progress(self) -> None:
        """The meter spoke, or it is our turn."""
        self._last = self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Waits in which no answer is due; TimedOut where the session's time ends before."""
        left = self.remaining
        self._last = self._loop.time() + seconds
        await asyncio.sleep(min(seconds, max(left, 0.0)))
        if seconds >= left:
            raise self._over()

    def _expect(self, silence: float) -> None:
        self._silence = silence
        self._last = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due(), self._fire)

    def _due(self) -> float:
        return min(self._last + self._silence, self._end)

    def _fire(self) -> None:
        due = self._due()
        now = self._loop.time()
        if now < due:
            self._timer = self._loop.call_at(due, self._fire)
            return
        self._timer = None
        if self._transport is not None:
            over = now >= self._end
            self._transport.interrupt(self._over() if over else TimedOut(f"no answer for {self._silence:g} s"))

    def _over(self) -> TimedOut:
        return TimedOut(f"the session took longer than {self._timeouts.session:g} s")
