"""A leased bucket in a worker's hands: what can start, what waits, what is in flight."""

import heapq
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.driver.contract import Command
from metercast.store.attempts import Lease, LeasedBucket, OpenDevice, Result, TaskHeader

_LIVE = frozenset({TaskStatus.IN_PROGRESS, TaskStatus.PAUSED})


class ActiveBucket:
    """Mutable state of one lease. `deadline` is on the worker's own monotonic clock."""

    __slots__ = (
        "command",
        "deadline",
        "draining",
        "in_flight",
        "lease",
        "lost",
        "parked",
        "startable",
        "task",
        "task_status",
        "waiting",
    )

    def __init__(self, leased: LeasedBucket, command: Command, deadline: float) -> None:
        self.lease: Lease = leased.lease
        self.task: TaskHeader = leased.task
        self.task_status: TaskStatus = leased.task.status
        self.command = command
        self.deadline = deadline
        self.lost = False
        self.draining = False
        self.startable: deque[OpenDevice] = deque()
        self.waiting: list[tuple[float, int, OpenDevice]] = []  # a heap by monotonic instant
        self.parked = 0  # devices that wait for their channel
        self.in_flight: dict[int, OpenDevice] = {}  # begun, and not yet recorded, by position

    @property
    def order(self) -> tuple[int, datetime, str]:
        """Which bucket is served first: the higher priority, then the older task."""
        return -self.task.priority, self.task.scheduled_at, self.task.task_id

    @property
    def runs(self) -> bool:
        """Whether new devices may begin."""
        return self.task_status is TaskStatus.IN_PROGRESS and not self.draining and self.holds_lease

    @property
    def holds_lease(self) -> bool:
        return not self.lost and time.monotonic() < self.deadline

    def live(self, now: datetime) -> bool:
        """Whether a device that fails transiently may be tried again later."""
        return self.task_status in _LIVE and now < self.task.expires_at

    def add(self, devices: Iterable[OpenDevice]) -> None:
        """PENDING devices: those that are due can start, the others wait."""
        now = time.monotonic()
        for device in devices:
            if device.wait_seconds <= 0:
                self.startable.append(device)
            else:
                self.wait(device, now + device.wait_seconds)

    def wait(self, device: OpenDevice, until: float) -> None:
        heapq.heappush(self.waiting, (until, device.position, device))

    def retry(self, result: Result, rest_seconds: float) -> None:
        """A recorded result: what is PENDING again waits for its next attempt, at least `rest_seconds`.

        The rest lets other commands that wait for the meter come in between the sessions of a long one.
        """
        device = self.in_flight.pop(result.position)
        if result.status is DeviceStatus.PENDING and not self.lost:
            again = OpenDevice(
                device.position,
                device.device_id,
                DeviceStatus.PENDING,
                result.tries if result.count_try else result.tries - 1,
                result.used,
                result.association_failures,
                result.verify_first,
                max(result.delay_seconds, rest_seconds),
                device.channel,
                device.max_sessions,
            )
            self.add([again])

    def wake_due(self, now: float) -> None:
        """Moves what has waited long enough."""
        while self.waiting and self.waiting[0][0] <= now:
            self.startable.append(heapq.heappop(self.waiting)[2])

    @property
    def idle(self) -> bool:
        """Nothing can start and nothing is in flight."""
        return not (self.startable or self.parked or self.in_flight)

    @property
    def only_ends(self) -> bool:
        """Nothing can start, and it is held for its sessions in flight."""
        return bool(self.in_flight) and not (self.startable or self.parked)

    @property
    def next_wake(self) -> float | None:
        return self.waiting[0][0] if self.waiting else None
