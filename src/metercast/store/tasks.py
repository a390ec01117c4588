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

# A task of more devices is written in chunks of about this many, and sealed at the end.
CREATE_CHUNK = 20_000
# A creation that has written nothing for so long is dead: what it left is swept.
UNSEALED_SECONDS = 60.0


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
    follow_up_at: datetime | None = None
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

        `device_ids` are unique, and may be more than fit in memory: they are read by slices of CREATE_CHUNK. Above
        that number they are written in as many transactions under a header that is not sealed, which no other call
        sees; sealing is the one commit that makes the task be. createdAt is that of the sealing. A `scheduled_at` of
        the past becomes the store's now, so that commands due at once run in the order in which they were stored.
        A task that is there is found before anything else is looked at. Raises ValueError without devices,
        UnknownDevices unless `allow_unknown`, and StoreUnavailable while another call creates this task;
        where it raises, also CancelledError, nothing visible is left, and the rest is swept.
        """
        ...

    async def get_task(self, task_id: str) -> Task: ...

    async def list_tasks(self, query: TaskQuery, limit: int, cursor: str | None) -> Page[Task]:
        """In order of creation, newest first; a page never repeats or skips under concurrent writes."""
        ...

    def stream_devices(self, task_id: str) -> AsyncIterator[bytes]:
        """All devices in the task's order, in pieces that, joined, are the inside of a JSON array of DeviceCommand.

        A piece may end anywhere. The reads are short, and each bucket is one consistent read.
        """
        ...

    def stream_results(self, task_id: str) -> AsyncIterator[bytes]:
        """All devices in the task's order as NDJSON, one store.results.ResultLine each, in pieces of whole lines.

        A piece is one consistent read, and about a mebibyte long unless one result is longer.
        """
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

    async def due_follow_ups(self, limit: int) -> list[Task]:
        """Final tasks whose `follow_up_at` has come and that have no follow-up yet; the longest due first."""
        ...

    async def settle_follow_up(self, task_id: str, follow_up_task_id: str | None) -> None:
        """The task that follows up is this; None: there was nothing to look at, and `follow_up_at` goes. Does nothing
        where that is settled."""
        ...

    async def count_ended(self, ended_before: datetime) -> int:
        """How many final tasks were last changed before that, but for those whose follow-up is still to come."""
        ...

    async def retire_tasks(self, ended_before: datetime, limit: int) -> int:
        """Up to `limit` final tasks that were last changed before that are no longer sealed: gone for every other
        call, and left to `sweep_unsealed`. One whose follow-up is still to come stays. How many."""
        ...

    async def sweep_unsealed(self, limit: int) -> int:
        """Deletes up to about `limit` devices of tasks that are not sealed and that nobody creates any longer, in one
        short transaction, and the header with the last; the number of rows deleted. 0: nothing is left to sweep."""
        ...
