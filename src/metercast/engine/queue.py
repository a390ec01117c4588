"""The queue between scheduler and workers. It is a hint: a message may be lost, doubled or late, and nothing breaks."""

import asyncio
import heapq
import itertools
from typing import Protocol

from metercast.store.attempts import BucketId, DueBucket


class BucketQueue(Protocol):
    def offer(self, bucket: DueBucket) -> bool:
        """False where it has the bucket already, or is full of what is as urgent."""
        ...

    async def take(self) -> DueBucket:
        """The bucket of the highest priority, the oldest first; waits for one."""
        ...

    @property
    def room(self) -> int:
        """How many more it takes."""
        ...

    @property
    def best_priority(self) -> int | None:
        """The highest priority that waits here; None where nothing does, or where it can't be known."""
        ...


class InProcessQueue:
    """A bounded priority queue on one event loop; holds each bucket at most once."""

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._heap: list[tuple[int, int, DueBucket]] = []
        self._queued: set[BucketId] = set()
        self._order = itertools.count()
        self._filled = asyncio.Event()

    @property
    def room(self) -> int:
        return self._limit - len(self._heap)

    def offer(self, bucket: DueBucket) -> bool:
        if bucket.bucket_id in self._queued or (self.room <= 0 and not self._displace(bucket.priority)):
            return False
        self._queued.add(bucket.bucket_id)
        heapq.heappush(self._heap, (-bucket.priority, next(self._order), bucket))
        self._filled.set()
        return True

    async def take(self) -> DueBucket:
        while not self._heap:
            self._filled.clear()
            await self._filled.wait()
        bucket = heapq.heappop(self._heap)[2]
        self._queued.discard(bucket.bucket_id)
        return bucket

    @property
    def best_priority(self) -> int | None:
        return -self._heap[0][0] if self._heap else None

    def _displace(self, priority: int) -> bool:
        """Makes room where something less urgent waits; the scheduler offers that again."""
        last = max(self._heap)
        if -last[0] >= priority:
            return False
        self._heap.remove(last)
        heapq.heapify(self._heap)
        self._queued.discard(last[2].bucket_id)
        return True
