"""The store's contract for work: buckets, leases, locks, attempts. Small structs: this is the hot path.

The order lease -> lock -> SENT -> bytes -> result -> unlock is safe to stop anywhere. Every write under a lease names
its epoch; where the lease is no longer ours the write changes nothing and says so with LeaseLost.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import SealedMeter
from metercast.domain.outcome import How
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord

BucketId = int | str  # opaque: each store has its own


class LeaseLost(Exception):
    """Another owner has the bucket, or the lease ran out; nothing was written."""


class DueBucket(msgspec.Struct, frozen=True):
    """A bucket with something to do and no living lease."""

    bucket_id: BucketId
    task_id: str
    priority: int


class TaskHeader(msgspec.Struct, frozen=True):
    """What the engine needs of a task, read with each bucket."""

    task_id: str
    command_type: str
    conflict_group: ConflictGroup
    command_params: dict[str, Any] | None
    status: TaskStatus
    priority: int
    scheduled_at: datetime
    expires_at: datetime
    retry: RetryPolicy


class Lease(msgspec.Struct, frozen=True):
    """The right to work on one bucket; every write carries it."""

    bucket_id: BucketId
    owner: str
    epoch: int


class OpenDevice(msgspec.Struct, frozen=True, gc=False):
    """A device command that is PENDING or SENT, as found when its bucket was leased.

    `channel` is None for a device that is not registered. `wait_seconds` is the time to its next attempt.
    """

    position: int
    device_id: str
    status: DeviceStatus
    tries: int
    used: int
    association_failures: int
    verify_first: bool
    wait_seconds: float
    channel: str | None
    max_sessions: int


class LeasedBucket(msgspec.Struct, frozen=True):
    lease: Lease
    task: TaskHeader
    devices: list[OpenDevice]


class BegunDevice(msgspec.Struct, frozen=True, gc=False):
    """A device that is now SENT, its lock taken. `tries` is the number of this attempt."""

    position: int
    tries: int
    meter: SealedMeter
    progress: Any


class Begun(msgspec.Struct, frozen=True):
    """What came of a batch of begins, by position.

    `locked`: its meter is in a session of another command. `waits`: an older command of the conflict group comes
    first. `ended`: not PENDING or not for long (cancelled, expired, superseded by a newer command, its meter is gone).
    `task_status` other than IN_PROGRESS means that nothing was begun.
    """

    task_status: TaskStatus
    begun: list[BegunDevice]
    locked: list[int]
    waits: list[int]
    ended: list[int]


class Result(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one SENT device. `status` is SUCCESS, FAILED or PENDING.

    `tries` guards it: the result of an older attempt changes nothing. `count_try` is false where a begun attempt is
    given back as if it had never been.
    """

    position: int
    device_id: str
    tries: int
    status: DeviceStatus
    used: int
    association_failures: int = 0
    error: ErrorWord | None = None
    detail: str | None = None
    how: How | None = None
    delay_seconds: float = 0.0
    verify_first: bool = False
    count_try: bool = True
    result: Any = None
    progress: Any = None


def in_cancelled_task(result: Result) -> Result:
    """What a result means there: nothing goes back to waiting. What is given back unused is cancelled as well, and what
    was tried has failed."""
    if result.status is not DeviceStatus.PENDING:
        return result
    if not result.count_try:
        return msgspec.structs.replace(result, status=DeviceStatus.CANCELLED)
    guess = result.verify_first or result.error is None
    error = ErrorWord.OUTCOME_UNKNOWN if guess else result.error
    return msgspec.structs.replace(result, status=DeviceStatus.FAILED, error=error)


class Transition(msgspec.Struct, frozen=True, gc=False):
    """One change of state that a store really made."""

    task_id: str
    device_id: str
    status: DeviceStatus
    error: ErrorWord | None


class HeldLease(msgspec.Struct, frozen=True):
    """A lease that is still ours after renewal, with what its task is now."""

    bucket_id: BucketId
    task_status: TaskStatus
    expired: bool


class AttemptStore(Protocol):
    async def due_buckets(self, limit: int) -> list[DueBucket]:
        """Buckets with something due and no living lease; highest priority first, then longest due."""
        ...

    async def lease_bucket(self, bucket_id: BucketId, owner: str, lease_seconds: float) -> LeasedBucket | None:
        """Takes the bucket at epoch + 1, with its open devices. None where another living lease has it, where
        it has nothing open, or where its task may not run."""
        ...

    async def renew_leases(self, leases: Sequence[Lease], lease_seconds: float) -> list[HeldLease]:
        """Those that are still ours, for `lease_seconds` from now. A lease that ran out is not renewed."""
        ...

    async def release_bucket(self, lease: Lease, due_seconds: float) -> None:
        """Ends the lease; what is still open in the bucket is due in `due_seconds`. Raises LeaseLost."""
        ...

    async def release_owner(self, owner_prefix: str) -> int:
        """Ends every lease of owners with this prefix: what a start does where one process owns the store.

        The devices stay SENT; the next lease finds and decides them. Returns the number of leases.
        """
        ...

    async def begin_attempts(self, lease: Lease, devices: Sequence[OpenDevice]) -> Begun:
        """PENDING -> SENT with locks taken, all or nothing. Raises LeaseLost.

        May be called again with the same `devices` where its answer was lost: what is SENT in the attempt that follows
        the one named, under this lease, is returned as begun once more. A caller never asks for what it has in flight.
        """
        ...

    async def keep_progress(self, lease: Lease, position: int, tries: int, progress: Any) -> None:
        """What a session that still runs has come to, for the session after it: in place of the progress before.

        Raises LeaseLost, also where the device is not SENT in attempt `tries`.
        """
        ...

    async def record_results(self, lease: Lease, results: Sequence[Result]) -> list[Transition]:
        """SENT -> what each result says, locks given up, counts moved; the transitions really made.

        Of several results for one device the first counts. Raises LeaseLost.
        """
        ...

    async def refuse_devices(
        self, lease: Lease, positions: Sequence[int], error: ErrorWord, detail: str
    ) -> list[Transition]:
        """PENDING -> FAILED without an attempt (unknown device). Raises LeaseLost."""
        ...

    async def record_late_result(self, task_id: str, result: Result) -> Transition | None:
        """A session's end that came after its attempt was decided (design, section 1).

        Corrects the device, the counts, the outcome and a task's FAILED to COMPLETED where `result` is a success,
        its attempt is the newest and the error stands for a guess. None where it changed nothing; it is recorded
        either way.
        """
        ...
