"""Attempts on SQLite: begin, record, refuse, correct. The hot path: one statement for many devices."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.words import ErrorWord
from metercast.store.attempts import Begun, Lease, LeaseLost, OpenDevice, Result, Transition
from metercast.store.sqlite import beginning, late, recording
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.holding import refuse, require_held
from metercast.store.sqlite.meters import meters_of


class SqliteAttempts:
    """Implements the attempts of store.attempts.AttemptStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def begin_attempts(self, lease: Lease, devices: Sequence[OpenDevice]) -> Begun:
        # A meter may change between this read and the write as it may right after: its session has what it had.
        meters = await self.database.read(lambda connection: meters_of(connection, devices))
        asked = beginning.Asked.of(devices, meters)
        marked = await self.database.write(lambda connection, now: beginning.begin(connection, now, lease, asked))
        return marked.begun(meters)

    async def keep_progress(self, lease: Lease, position: int, tries: int, progress: Any) -> None:
        text = msgspec.json.encode(progress).decode()

        def work(connection: sqlite3.Connection, now: datetime) -> None:
            require_held(connection, now, lease, [position])
            if not recording.keep_progress(connection, position, tries, text):
                raise LeaseLost(f"the device at {position} is not SENT in attempt {tries}")

        await self.database.write(work)

    async def record_results(self, lease: Lease, results: Sequence[Result]) -> list[Transition]:
        groups = recording.prepare(results)
        task_id, moved = await self.database.write(
            lambda connection, now: recording.record(connection, now, lease, groups)
        )
        return [Transition(task_id, each.device_id, each.status, each.error) for each in moved]

    async def refuse_devices(
        self, lease: Lease, positions: Sequence[int], error: ErrorWord, detail: str
    ) -> list[Transition]:
        def work(connection: sqlite3.Connection, now: datetime) -> list[Transition]:
            held = require_held(connection, now, lease, positions)
            return refuse(connection, now, held, positions, error, detail)

        return await self.database.write(work)

    async def record_late_result(self, task_id: str, result: Result) -> Transition | None:
        return await self.database.write(lambda connection, now: late.record(connection, now, task_id, result))
