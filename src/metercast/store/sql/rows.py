"""Rows as structs. `instant` reads a time as the database gives it; JSON comes as text."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.outcome import How
from metercast.domain.retry import RetryPolicy
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.task import Attempt, Counts, DeviceCommand, DeviceCommandDetail, Task, TaskOutcome
from metercast.domain.words import ErrorWord

Instant = Callable[[Any], datetime]
Row = Sequence[Any]

_retry = msgspec.json.Decoder(RetryPolicy)


def task_of(row: Row, instant: Instant) -> Task:
    """From task_id, command_id, command_type, command_params, scheduled_at, status, created_at, updated_at,
    expires_at, priority, requested_by, parent_task_id, retry, outcome, total, the five counts, follow_up_at
    and follow_up_task_id."""
    return Task(
        task_id=row[0],
        command_id=row[1],
        command_type=row[2],
        command_params=json_or_none(row[3]),
        scheduled_at=instant(row[4]),
        status=TaskStatus(row[5]),
        created_at=instant(row[6]),
        updated_at=instant(row[7]),
        expires_at=instant(row[8]),
        priority=row[9],
        requested_by=row[10],
        parent_task_id=row[11],
        retry=retry_of(row[12]),
        outcome=None if row[13] is None else TaskOutcome(row[13]),
        counts=Counts(row[14], *(count or 0 for count in row[15:20])),
        follow_up_at=None if row[20] is None else instant(row[20]),
        follow_up_task_id=row[21],
    )


def device_of(row: Row, instant: Instant) -> DeviceCommand:
    """From device_id, command_status, error_message, last_updated, tries, how, error_detail, next_attempt_at; more may
    follow."""
    return DeviceCommand(**_device_fields(row, instant))


def detail_of(
    row: Row, kept: Sequence[Row], instant: Instant, *, task_id: str, command_type: str, sent_at: Any, result: Any
) -> DeviceCommandDetail:
    """From a row as of `device_of`, and `kept`: attempt, started_at, ended_at, error_message, error_detail, late.

    Attempts are kept when they end in an error; the newest one stands in the device's own row.
    """
    attempts = [
        Attempt(
            attempt=number,
            started_at=instant(started_at or ended_at),
            ended_at=instant(ended_at),
            error=None if word is None else ErrorWord(word),
            error_detail=detail,
            late=bool(late),
        )
        for number, started_at, ended_at, word, detail, late in kept
    ]
    fields = _device_fields(row, instant)
    status: DeviceStatus = fields["command_status"]
    decided = any(attempt.attempt == row[4] for attempt in attempts)
    if status in (DeviceStatus.SENT, DeviceStatus.SUCCESS) and sent_at is not None and not decided:
        ended_at = fields["last_updated"] if status is DeviceStatus.SUCCESS else None
        attempts.append(Attempt(attempt=row[4], started_at=instant(sent_at), ended_at=ended_at))
    return DeviceCommandDetail(
        **fields, task_id=task_id, command_type=command_type, attempts_made=attempts, result=json_or_none(result)
    )


def retry_of(text: str) -> RetryPolicy:
    return _retry.decode(text)


def json_or_none(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def json_text(value: Any) -> str | None:
    """None is no value at all."""
    return None if value is None else msgspec.json.encode(value).decode()


def _device_fields(row: Row, instant: Instant) -> dict[str, Any]:
    return {
        "device_id": row[0],
        "command_status": DeviceStatus(row[1]),
        "error": None if row[2] is None else ErrorWord(row[2]),
        "last_updated": instant(row[3]),
        "attempts": row[4],
        "how": None if row[5] is None else How(row[5]),
        "error_detail": row[6],
        "next_attempt_at": None if row[7] is None else instant(row[7]),
    }
