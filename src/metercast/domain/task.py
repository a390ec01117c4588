"""The task record: what users integrate with. Names and shapes are fixed by the design, section 1."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from metercast.domain.outcome import How
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskEvent, TaskStatus, task_after
from metercast.domain.words import ErrorWord

DeviceId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, description="1 to 128 printable characters")]


class TaskOutcome(StrEnum):
    """Why a task ended as it did; null until no device is PENDING or SENT."""

    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Counts(msgspec.Struct, frozen=True):
    """Devices per state, never attempts; always sums to `total`."""

    total: int
    pending: int
    sent: int = 0
    success: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def open(self) -> int:
        return self.pending + self.sent


class Task(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A task without its devices. Times are aware and in UTC."""

    task_id: str
    command_id: str
    command_type: str
    command_params: dict[str, Any] | None = None
    scheduled_at: datetime
    status: TaskStatus
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    priority: int = 4
    requested_by: str | None = None
    parent_task_id: str | None = None
    follow_up_at: datetime | None = None  # when another task looks at what this one scheduled on its meters
    follow_up_task_id: str | None = None  # that task, once it is made
    retry: RetryPolicy
    outcome: TaskOutcome | None = None
    counts: Counts


class DeviceCommand(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One entry of `devices`."""

    device_id: str
    command_status: DeviceStatus
    error: ErrorWord | None
    last_updated: datetime
    attempts: int = 0
    how: How | None = None
    error_detail: str | None = None
    next_attempt_at: datetime | None = None


class Attempt(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One attempt on one device; `error` is null for the one that succeeded or still runs."""

    attempt: int
    started_at: datetime
    ended_at: datetime | None = None
    error: ErrorWord | None = None
    error_detail: str | None = None
    late: bool = False


class TransferProgress(msgspec.Struct, frozen=True, rename="camel"):
    """How far a firmware image came: `blocks` of `of` are known to have arrived; it is some seconds old."""

    blocks: int
    of: int
    percent: float


class DeviceCommandDetail(DeviceCommand, frozen=True, rename="camel", kw_only=True):
    """One device command with its attempts and its result (values read, read-back). `progress` is of a command that
    uploads an image and is not over."""

    task_id: str
    command_type: str
    attempts_made: list[Attempt]
    result: Any = None
    progress: TransferProgress | None = None


def outcome_of(status: TaskStatus, counts: Counts) -> TaskOutcome | None:
    """The outcome that `counts` mean; None while a device is open."""
    if counts.open:
        return None
    if status is TaskStatus.CANCELLED:
        return TaskOutcome.CANCELLED
    if counts.success == counts.total:
        return TaskOutcome.SUCCEEDED
    return TaskOutcome.PARTIAL if counts.success else TaskOutcome.FAILED


def final_state(status: TaskStatus, counts: Counts) -> tuple[TaskStatus, TaskOutcome]:
    """What a task without an open device becomes."""
    if status is not TaskStatus.CANCELLED:
        if status is TaskStatus.QUEUED and counts.success:
            status = task_after(status, TaskEvent.START)
        status = task_after(status, TaskEvent.COMPLETE if counts.success else TaskEvent.FAIL)
    outcome = outcome_of(status, counts)
    assert outcome is not None
    return status, outcome


def corrected_state(status: TaskStatus, counts: Counts) -> tuple[TaskStatus, TaskOutcome]:
    """What a final task becomes by a late success, which `counts` hold already."""
    if status is TaskStatus.FAILED and counts.success:
        status = task_after(status, TaskEvent.CORRECT)
    outcome = outcome_of(status, counts)
    assert outcome is not None
    return status, outcome
