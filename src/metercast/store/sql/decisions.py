"""What a store decides from what it has read and locked."""

from collections.abc import Iterator

import msgspec

from metercast.domain.states import DeviceStatus, TaskEvent, TaskStatus, task_after
from metercast.domain.task import Counts, TaskOutcome, outcome_of
from metercast.domain.words import ErrorWord
from metercast.store.attempts import Result


def in_cancelled_task(result: Result) -> Result:
    """Nothing goes back to waiting there: what is given back unused is cancelled as well, what was tried has failed."""
    if result.status is not DeviceStatus.PENDING:
        return result
    if not result.count_try:
        return msgspec.structs.replace(result, status=DeviceStatus.CANCELLED)
    guess = result.verify_first or result.error is None
    error = ErrorWord.OUTCOME_UNKNOWN if guess else result.error
    return msgspec.structs.replace(result, status=DeviceStatus.FAILED, error=error)


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
    if status is TaskStatus.FAILED:
        status = task_after(status, TaskEvent.CORRECT)
    outcome = outcome_of(status, counts)
    assert outcome is not None
    return status, outcome


def bucket_ranges(first: int, count: int, size: int) -> Iterator[tuple[int, int]]:
    """The first and last of each bucket of `count` positions from `first` on."""
    for start in range(first, first + count, size):
        yield start, min(start + size, first + count) - 1


def whole_buckets(devices: int, bucket_size: int) -> int:
    """About `devices`, and a whole number of buckets."""
    return max(devices // bucket_size, 1) * bucket_size
