"""How often a guarded update is tried again: it is refused where what was read has changed since."""

import asyncio
import random

from metercast.store.errors import StoreUnavailable

_MOST = 50
_FIRST_SECONDS, _LONGEST_SECONDS = 0.001, 0.1


class Rounds:
    """`await next()` comes before each try: at once before the first, later before each that follows, for a read shows
    what a majority has, and that may come a moment after the update that was in the way."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._number = 0

    async def next(self) -> None:
        """Raises StoreUnavailable after so many rounds that others must be changing it all the time."""
        if self._number == _MOST:
            raise StoreUnavailable(f"{self._what} is changed by others all the time")
        if self._number:
            await asyncio.sleep(random.random() * min(_FIRST_SECONDS * 2**self._number, _LONGEST_SECONDS))
        self._number += 1
