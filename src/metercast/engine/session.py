"""One session of one device command: what the executor runs and the driver asks."""

import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from metercast.driver.contract import GiveBack
from metercast.engine.bucket import ActiveBucket
from metercast.store.attempts import BegunDevice, OpenDevice


class Session:
    """Implements driver.contract.Checkpoint over the state of the bucket."""

    __slots__ = ("begun", "begun_at", "bucket", "clock", "device", "sent", "slice_seconds", "wanted")

    def __init__(
        self,
        bucket: ActiveBucket,
        device: OpenDevice,
        begun: BegunDevice,
        clock: Callable[[], datetime],
        slice_seconds: float = math.inf,
    ) -> None:
        self.bucket = bucket
        self.device = device
        self.begun = begun
        self.clock = clock
        self.sent = False
        self.begun_at = time.monotonic()
        self.slice_seconds = slice_seconds
        self.wanted = False  # something else waits for the meter, its channel, or the slot

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
