"""The store's contract for copying: everything out of one store and into another, as it is.

Records are neutral: no store's ids, leases or locks. A copy is taken while no engine runs on either side.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import StoredMeter
from metercast.domain.outcome import How
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import TaskOutcome
from metercast.domain.words import ErrorWord
from metercast.store.counters import CounterName
from metercast.store.images import ImageStore
from metercast.store.keys import ApiKey


class CounterRecord(msgspec.Struct, frozen=True):
    """`next_value` is the first that was never reserved."""

    name: CounterName
    next_value: int


class KeyRecord(msgspec.Struct, frozen=True):
    key: ApiKey
    secret_hash: bytes

    def __repr__(self) -> str:
        return f"KeyRecord({self.key.key_id!r})"


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The whole header of a sealed task. The frozen counts are 0 while `outcome` is None."""

    task_id: str
    body_hash: str
    command_id: str
    command_type: str
    conflict_group: ConflictGroup
    command_params: dict[str, Any] | None
    scheduled_at: datetime
    expires_at: datetime
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    priority: int
    requested_by: str | None
    parent_task_id: str | None
    follow_up_at: datetime | None
    follow_up_task_id: str | None
    retry: RetryPolicy
    bucket_size: int
    total: int
    outcome: TaskOutcome | None
    success: int
    failed: int
    cancelled: int


class AttemptRecord(msgspec.Struct, frozen=True):
    """An attempt that ended in an error, or a late result."""

    attempt: int
    late: bool
    started_at: datetime | None
    ended_at: datetime
    error: ErrorWord | None
    detail: str | None


class DeviceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A device command with all that is kept of it. `superseded`: a newer command of its group has begun."""

    device_id: str
    status: DeviceStatus
    error: ErrorWord | None
    detail: str | None
    last_updated: datetime
    tries: int
    used: int
    association_failures: int
    verify_first: bool
    next_attempt_at: datetime | None
    sent_at: datetime | None
    how: How | None
    progress: Any
    result: Any
    superseded: bool
    attempts: list[AttemptRecord]


class CopyStore(ImageStore, Protocol):
    """Exports come in pieces of bounded size; imports are idempotent: what is there already is replaced."""

    def export_meters(self) -> AsyncIterator[list[StoredMeter]]:
        """In order of device id (by code point)."""
        ...

    async def import_meters(self, meters: Sequence[StoredMeter]) -> None:
        """With their times."""
        ...

    def export_counters(self) -> AsyncIterator[list[CounterRecord]]:
        """In order of name: device id, key, client system title."""
        ...

    async def import_counters(self, counters: Sequence[CounterRecord]) -> None:
        """A counter never goes back: the higher value stays."""
        ...

    async def export_keys(self) -> list[KeyRecord]:
        """In order of key id."""
        ...

    async def import_keys(self, keys: Sequence[KeyRecord]) -> None: ...

    def export_tasks(self) -> AsyncIterator[list[TaskRecord]]:
        """Sealed tasks in order of task id (by code point)."""
        ...

    def export_task_devices(self, task_id: str) -> AsyncIterator[list[DeviceRecord]]:
        """In the task's order, a bucket at a time."""
        ...

    async def begin_import(self, task: TaskRecord) -> bool:
        """Writes the header, not sealed. False where the task is there, sealed; what an import that did not end left
        of it is swept first."""
        ...

    async def import_task_devices(self, task: TaskRecord, first: int, devices: Sequence[DeviceRecord]) -> None:
        """The devices from number `first` (from 0) on: whole buckets, each once, in their order."""
        ...

    async def seal_import(self, task: TaskRecord) -> None:
        """The task is there from now on, its times as given; what is open in it is due at once."""
        ...
