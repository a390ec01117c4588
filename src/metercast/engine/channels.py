"""Channels: what meters behind one gateway share, and how many sessions it takes at a time."""

import heapq
import itertools
from typing import Generic, TypeVar

T = TypeVar("T")


class Channels(Generic[T]):
    """Counts sessions per channel; what finds its channel full waits in order of priority, then of arrival."""

    def __init__(self) -> None:
        self._in_use: dict[str, int] = {}
        self._waiting: dict[str, list[tuple[int, int, T]]] = {}
        self._order = itertools.count()

    def enter(self, channel: str, limit: int) -> bool:
        """Takes a place; False where `limit` are taken."""
        used = self._in_use.get(channel, 0)
        if used >= limit:
            return False
        self._in_use[channel] = used + 1
        return True

    def leave(self, channel: str) -> None:
        """Gives a place back."""
        left = self._in_use[channel] - 1
        if left:
            self._in_use[channel] = left
        else:
            del self._in_use[channel]

    def wait(self, channel: str, priority: int, item: T) -> None:
        """Keeps `item` until `next_waiting` hands it out."""
        heapq.heappush(self._waiting.setdefault(channel, []), (-priority, next(self._order), item))

    def next_waiting(self, channel: str) -> T | None:
        """Takes out what waited longest with the highest priority; it must enter anew."""
        waiting = self._waiting.get(channel)
        if waiting is None:
            return None
        item = heapq.heappop(waiting)[2]
        if not waiting:
            del self._waiting[channel]
        return item
