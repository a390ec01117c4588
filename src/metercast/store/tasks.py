"""The store's contract for tasks: create, look up, act upon."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from metercast.domain.command import ConflictGroup
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import DeviceCommand, DeviceCommandDetail, Task
from metercast.domain.words import ErrorWord
from metercast.store.pages import Page

MIN_BUCKET, DEFAULT_BUCKET, MAX_BUCKET = 50, 500, 5000


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A validated task to store. `body_hash` tells one request with this task id from another."""

    task_id: str
    body_hash: str
    command_id: str
    command_type: str
    conflict_group: ConflictGroup
    command_params: dict[str, Any] | None
    scheduled_at: datetime
    expires_at: datetime
    priority: int
    requested_by: str | None
    retry: RetryPolicy
    parent_task_id: str | None = None
    bucket_size: int = DEFAULT_BUCKET


class Created(msgspec.Struct, frozen=True):
    """`task` as it stands now; `is_new` is false for a repeated request, `same_body` false for another body."""

    task: Task
    is_new: bool
    same_body: bool


class UnknownDevices(Exception):
    """Some devices are not registered; nothing was created. `first` names up to ten of `count`."""

    def __init__(self, first: list[str], count: int) -> None:
        super().__init__(f"{count} unknown devices")
        self.first = first
        self.count = count


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`created_from` <= createdAt < `created_to`. Newest first."""

    command_id: str | None = None
    device_id: str | None = None
    status: TaskStatus | None = None
    command_type: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


class DeviceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Devices of one task, in its own order."""

    status: DeviceStatus | None = None
    error: ErrorWord | None = None
    updated_since: datetime | None = None


class ErrorCount(msgspec.Struct, frozen=True):
    """How many devices of a task have one error word, by status."""

    command_status: DeviceStatus
    error: ErrorWord
    devices: int


class TaskStore(Protocol):
    """Every method that names a task raises domain.problem.NotFound where there is none."""

    async def create_task(self, task: NewTask, device_ids: Sequence[str], *, allow_unknown: bool) -> Created:
        """Stores the task with its devices in their order, or finds the one that has this id.

        `device_ids` are unique. A `scheduled_at` of the past becomes the store's now, so that commands due at once
        run in the order in which they were stored. Raises UnknownDevices unless `allow_unknown`.
        """
        ...

    async def get_task(self, task_id: str) -> Task: ...

    async def list_tasks(self, query: TaskQuery, limit: int, cursor: str | None) -> Page[Task]:
        """In order of creation, newest first; a page never repeats or skips under concurrent writes."""
        ...

    def stream_devices(self, task_id: str) -> AsyncIterator[list[DeviceCommand]]:
        """All devices in the task's order, a bucket at a time; each bucket is one consistent read."""
        ...

    async def list_devices(
        self, task_id: str, query: DeviceQuery, limit: int, cursor: str | None
    ) -> Page[DeviceCommand]: ...

    async def get_device_command(self, task_id: str, device_id: str) -> DeviceCommandDetail: ...

    async def error_counts(self, task_id: str) -> list[ErrorCount]:
        """Failures and waits by error word, most frequent first."""
        ...

    async def cancel_task(self, task_id: str) -> Task:
        """CANCELLED at once, and every PENDING device with it. Raises IllegalTransition."""
        ...

    async def pause_task(self, task_id: str) -> Task:
        """Raises IllegalTransition."""
        ...

    async def resume_task(self, task_id: str) -> Task:
        """To IN_PROGRESS, or to QUEUED where it is not yet due. Raises IllegalTransition."""
        ...

    async def start_due_tasks(self) -> list[str]:
        """QUEUED tasks whose time has come become IN_PROGRESS; their ids."""
        ...

    async def expire_due(self) -> list[str]:
        """PENDING devices of tasks past their expiry become FAILED (Expired); the tasks that had such."""
        ...

    async def finalise_ended(self) -> list[Task]:
        """Every task without an open device, not yet finalised, gets its final status, outcome and frozen counts.

        Guarded and idempotent. Returns the tasks that it finalised.
        """
        ...
