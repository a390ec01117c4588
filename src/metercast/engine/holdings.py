"""The buckets that a worker holds, and the care for their leases: renew, give back, find lost."""

import asyncio
import time
from bisect import insort
from collections.abc import Callable, Iterable

import structlog

from metercast.engine.bucket import ActiveBucket
from metercast.engine.limits import WorkerLimits
from metercast.engine.patience import tell
from metercast.engine.stats import EngineStats
from metercast.store.attempts import AttemptStore, BucketId, LeaseLost
from metercast.store.errors import StoreUnavailable

log = structlog.get_logger()


class Holdings:
    """`dropped` hears of each bucket that is no longer held."""

    def __init__(
        self,
        store: AttemptStore,
        stats: EngineStats,
        limits: WorkerLimits,
        dropped: Callable[[ActiveBucket], None],
    ) -> None:
        self._store = store
        self._stats = stats
        self._limits = limits
        self._dropped = dropped
        self._buckets: dict[BucketId, ActiveBucket] = {}
        self._in_order: list[ActiveBucket] = []

    def __len__(self) -> int:
        return len(self._buckets)

    def __contains__(self, bucket_id: BucketId) -> bool:
        return bucket_id in self._buckets

    def in_order(self) -> list[ActiveBucket]:
        """Those to serve first come first."""
        return self._in_order

    def of_task(self, task_id: str) -> list[ActiveBucket]:
        return [bucket for bucket in self._buckets.values() if bucket.task.task_id == task_id]

    def deadline(self, asked_at: float) -> float:
        """When a lease asked for at `asked_at` (monotonic) must count as over: well before the store thinks so."""
        return asked_at + self._limits.lease_seconds * 0.9

    def add(self, bucket: ActiveBucket) -> None:
        self._buckets[bucket.lease.bucket_id] = bucket
        insort(self._in_order, bucket, key=lambda each: each.order)
        self._stats.buckets_leased = len(self._buckets)

    def drop(self, bucket: ActiveBucket) -> None:
        bucket.lost = True
        if self._buckets.pop(bucket.lease.bucket_id, None) is not None:
            self._in_order.remove(bucket)
        self._stats.buckets_leased = len(self._buckets)
        self._dropped(bucket)

    def drain(self) -> None:
        for bucket in self._buckets.values():
            bucket.draining = True

    def has_room(self, best_offer: int | None) -> bool:
        """Whether slots could go empty while the memory held is bounded; a higher priority may come on top.

        Buckets that are held only for their last sessions take no room: there are no more of them than sessions.
        """
        startable = sum(len(bucket.startable) for bucket in self._buckets.values())
        held = sum(not bucket.only_ends for bucket in self._buckets.values())
        if startable < 2 * self._limits.sessions and held < self._limits.buckets:
            return True
        if best_offer is None or held >= 2 * self._limits.buckets:
            return False
        return any(bucket.task.priority < best_offer for bucket in self._buckets.values())

    @property
    def next_wake(self) -> float | None:
        """The monotonic instant at which the next waiting device may begin."""
        return min((b.next_wake for b in self._buckets.values() if b.next_wake is not None), default=None)

    async def renew_all(self) -> None:
        """Every third of a lease, and sooner where the store was away, until cancelled."""
        rest = self._limits.lease_seconds / 3
        while True:
            await asyncio.sleep(rest)
            try:
                await self.renew(self._buckets.values())
                rest = self._limits.lease_seconds / 3
            except StoreUnavailable as error:
                tell("renew", error)
                rest = self._limits.lease_seconds / 30

    async def renew(self, buckets: Iterable[ActiveBucket]) -> None:
        """Prolongs the leases and reads anew what their tasks are."""
        asked = [bucket for bucket in buckets if not bucket.lost]
        if not asked:
            return
        asked_at = time.monotonic()
        held = await self._store.renew_leases([bucket.lease for bucket in asked], self._limits.lease_seconds)
        by_id = {each.bucket_id: each for each in held}
        for bucket in asked:
            if self._buckets.get(bucket.lease.bucket_id) is not bucket:
                continue  # given back meanwhile
            still = by_id.get(bucket.lease.bucket_id)
            if still is None:
                log.warning("lease.lost", bucket_id=bucket.lease.bucket_id, task_id=bucket.task.task_id)
                self._stats.leases_lost += 1
                bucket.lost = True
            else:
                bucket.deadline = self.deadline(asked_at)
                bucket.task_status = still.task_status

    async def give_up_idle(self, *, crowded: bool) -> int:
        """Ends the leases of buckets that have nothing to do soon; how many. `crowded`: others wait for room."""
        now = time.monotonic()
        leaving: list[tuple[ActiveBucket, float]] = []
        waiting: ActiveBucket | None = None
        for bucket in self._in_order:
            due = self._due_seconds(bucket, now)
            if due is not None:
                leaving.append((bucket, due))
            elif not bucket.startable and not bucket.in_flight:
                waiting = bucket  # the last in order
        if crowded and not leaving and waiting is not None:
            leaving = [(waiting, self._limits.step_aside_seconds)]
        given = await asyncio.gather(*(self._release(bucket, due) for bucket, due in leaving))
        return sum(given)

    def _due_seconds(self, bucket: ActiveBucket, now: float) -> float | None:
        """In how many seconds the bucket is due again if it is given back now; None to keep it."""
        if bucket.in_flight:
            return None
        if not bucket.runs:
            return 0.0
        if not bucket.idle:
            return None
        if bucket.next_wake is None:
            return 0.0
        wait = bucket.next_wake - now
        return wait if wait > self._limits.hold_seconds else None

    async def _release(self, bucket: ActiveBucket, due_seconds: float) -> bool:
        """Whether it is no longer held; where the store is away, it is asked again in the next pass."""
        if not bucket.lost:
            try:
                await self._store.release_bucket(bucket.lease, due_seconds)
            except LeaseLost:
                self._stats.leases_lost += 1
            except StoreUnavailable as error:
                tell("release", error)
                return False
        self.drop(bucket)
        return True
