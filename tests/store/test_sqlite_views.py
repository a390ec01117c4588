"""SQLite: the views that people query."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.store.fleet import Spool, begun_bucket, create, failure, new_task, success
from tests.store.sqlite_harness import SqliteHarness

from metercast.domain.words import ErrorWord
from metercast.store.tasks import CREATE_CHUNK


def rows(path: Path, statement: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(path)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement)]
    finally:
        connection.close()


def tear() -> None:
    raise OSError


async def test_the_views_count_what_is_sealed(tmp_path: Path) -> None:
    harness = await SqliteHarness.start(tmp_path)
    await create(harness, "over", ["a", "b", "c"], command_type="SET_TOU")
    bucket = await begun_bucket(harness, "over")
    harness.clock.advance(3)
    ends = [success(bucket), failure(bucket, ErrorWord.TIMEOUT, 1), failure(bucket, ErrorWord.TIMEOUT, 2)]
    await harness.store.record_results(bucket.lease, ends)
    harness.clock.advance(2)
    await harness.store.finalise_ended()
    await create(harness, "open", ["a", "d"])
    await begun_bucket(harness, "open")
    with pytest.raises(OSError, match=r"^$"):
        await harness.store.create_task(
            new_task("torn"), Spool(CREATE_CHUNK + 1, at={CREATE_CHUNK: tear}), allow_unknown=True
        )
    await harness.close()
    assert rows(harness.path, "SELECT * FROM task_success_rate ORDER BY command_type") == [
        {
            "command_type": "READ_CLOCK", "day": "2026-05-08", "tasks": 1, "devices": 2, "pending": 0, "sent": 2,
            "success": 0, "failed": 0, "cancelled": 0, "success_rate": None,
        },
        {
            "command_type": "SET_TOU", "day": "2026-05-08", "tasks": 1, "devices": 3, "pending": 0, "sent": 0,
            "success": 1, "failed": 2, "cancelled": 0, "success_rate": pytest.approx(1 / 3),
        },
    ]  # fmt: skip
    assert rows(harness.path, "SELECT * FROM failures_by_error") == [
        {"command_type": "SET_TOU", "day": "2026-05-08", "error": "Timeout", "devices": 2, "tasks": 1}
    ]
    (ended,) = rows(harness.path, "SELECT * FROM time_to_completion")
    assert ended == {
        "task_id": "over", "command_id": new_task("over").command_id, "command_type": "SET_TOU", "day": "2026-05-08",
        "status": "COMPLETED", "outcome": "PARTIAL", "devices": 3, "scheduled_at": "2026-05-08T02:00:00.000000Z",
        "ended_at": "2026-05-08T02:00:05.000000Z", "seconds": pytest.approx(5.0, abs=1e-3),
    }  # fmt: skip
    assert rows(harness.path, "SELECT * FROM slowest_gateways") == [
        {
            "channel": "gateway-1", "sessions": 1, "meters": 1, "average_seconds": pytest.approx(3.0, abs=1e-3),
            "longest_seconds": pytest.approx(3.0, abs=1e-3),
        }
    ]  # fmt: skip
