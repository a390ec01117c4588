"""One session of one device command: what the executor runs and the driver asks."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

from metercast.driver.contract import GiveBack
from metercast.engine.bucket import ActiveBucket
from metercast.engine.patience import until_stored
from metercast.store.attempts import BegunDevice, Lease, LeaseLost, OpenDevice

KeepProgress = Callable[[Lease, int, int, Any], Awaitable[None]]


class Session:
    """Implements driver.contract.Checkpoint over the state of the bucket."""

    __slots__ = (
        "begun", "begun_at", "bucket", "clock", "device", "keep", "sent", "settled", "slice_seconds", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        bucket: ActiveBucket,
        device: OpenDevice,
        begun: BegunDevice,
        clock: Callable[[], datetime],
        keep: KeepProgress,
        slice_seconds: float = math.inf,
    ) -> None:
        self.bucket = bucket
        self.device = device
        self.begun = begun
        self.clock = clock
        self.keep = keep
        self.sent = False
        self.begun_at = time.monotonic()
        self.slice_seconds = slice_seconds
        self.wanted = False  # something else waits for the meter, its channel, or the slot
        self.settled = False  # what earlier sessions left open, and this one did before, is known

    @property
    def task_id(self) -> str:
        return self.bucket.task.task_id

    @property
    def verify_first(self) -> bool:
        return self.device.verify_first

    @property
    def progress(self) -> Any:
        return self.begun.progress

    @property
    def should_yield(self) -> bool:
        bucket = self.bucket
        return (
            self.wanted
            or not bucket.runs
            or time.monotonic() - self.begun_at >= self.slice_seconds
            or self.clock() >= bucket.task.expires_at
        )

    async def settle(self, progress: Any) -> None:
        """Where the store is away it is asked again until the lease's own deadline.

        What was not heard to be kept may have been: it is true all the same, and does no harm.
        """
        if not self.bucket.holds_lease:
            raise GiveBack("the lease ran out")
        keep = partial(self.keep, self.bucket.lease, self.begun.position, self.begun.tries, progress)
        try:
            async with asyncio.timeout(self.bucket.deadline - time.monotonic()):
                await until_stored(keep)
        except (TimeoutError, LeaseLost):
            raise GiveBack("the lease ran out") from None
        self.settled = True

    def may_send(self) -> None:
        bucket = self.bucket
        if bucket.lost or time.monotonic() >= bucket.deadline:
            raise GiveBack("the lease ran out")
        if not self.sent:
            if not bucket.runs:
                raise GiveBack("the task may not start sessions now")
            self.sent = True

    def may_change(self) -> None:
        bucket = self.bucket
        if not bucket.holds_lease:
            raise GiveBack("the lease ran out")
        if not bucket.runs:
            raise GiveBack("the task may not change meters now")
        if self.clock() >= bucket.task.expires_at:
            raise GiveBack("the task has expired")
