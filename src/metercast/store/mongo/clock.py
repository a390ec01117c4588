"""The database server's clock, as this process knows it: an offset, measured at connect and again and again."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import AsyncMongoClient

_LOOKS = 3


class DatabaseClock:
    """Tells the server's time in whole milliseconds, never earlier than it told before.

    What passes since the last measurement is told by the monotonic clock, so that nobody who sets this machine's time
    moves a lease.
    """

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._measured = 0.0
        self._last = datetime.min.replace(tzinfo=UTC)

    async def measure(self, client: AsyncMongoClient[Any]) -> None:
        """The look that came back fastest is believed: its error is at most half its way."""
        fastest = float("inf")
        for _ in range(_LOOKS):
            start = time.monotonic()
            answer = await client.admin.command("hello")
            end = time.monotonic()
            if end - start < fastest:
                fastest = end - start
                at = answer["localTime"].replace(tzinfo=UTC)
                measured = (start + end) / 2
        self._at, self._measured = at, measured

    def __call__(self) -> datetime:
        assert self._at is not None, "measure comes first"
        now = self._at + timedelta(seconds=time.monotonic() - self._measured)
        self._last = max(self._last, now.replace(microsecond=now.microsecond // 1000 * 1000))
        return self._last
