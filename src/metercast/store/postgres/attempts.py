"""Attempts on PostgreSQL: begin, record, refuse, correct. The hot path: one round trip for a batch, a column an array.

What a batch does in the database stands in migrations/0002_work.sql.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import accumulate
from operator import attrgetter
from typing import Any, NamedTuple

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import SealedMeter, lock_key
from metercast.domain.outcome import How
from metercast.domain.states import DEVICE_TRANSITIONS, DeviceEvent, DeviceStatus, TaskStatus, states_before
from metercast.domain.words import ErrorWord
from metercast.store.attempts import (
    Begun,
    BegunDevice,
    Lease,
    LeaseLost,
    OpenDevice,
    Result,
    Transition,
    in_cancelled_task,
)
from metercast.store.postgres import late
from metercast.store.postgres.database import Connection, Database
from metercast.store.postgres.texts import storable
from metercast.store.postgres.times import later
from metercast.store.sql.rows import json_or_none, json_text

# The guards of the functions in the database.
assert states_before(DEVICE_TRANSITIONS, DeviceEvent.BEGIN) == (DeviceStatus.PENDING,)
assert states_before(DEVICE_TRANSITIONS, DeviceEvent.REFUSE) == (DeviceStatus.PENDING,)
assert states_before(DEVICE_TRANSITIONS, DeviceEvent.SUCCEED) == (DeviceStatus.SENT,)
_ENDS_IN = frozenset(after for (before, _), after in DEVICE_TRANSITIONS.items() if before is DeviceStatus.SENT)

_SUPERSEDING = [group.value for group in ConflictGroup if group.supersedes]
_SUPERSEDED = "a newer command of its kind ran on this meter first"
_OUTSIDE = "OUTSIDE"

_BEGIN = "SELECT * FROM metercast_begin($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_RECORD = f"SELECT * FROM metercast_record({', '.join(f'${n}' for n in range(1, 24))})"

_HELD = """
SELECT b.task_id, b.first_id, b.last_id FROM task_buckets b
WHERE b.bucket_id = $1 AND b.lease_owner = $2 AND b.lease_epoch = $3 AND b.lease_until > $4 FOR UPDATE
"""
# The row of the bucket is not locked: what another has decided meanwhile shows in the device's own.
_KEEP_PROGRESS = """
WITH held AS (
  SELECT b.first_id, b.last_id FROM task_buckets b
  WHERE b.bucket_id = $1 AND b.lease_owner = $2 AND b.lease_epoch = $3 AND b.lease_until > $4
), kept AS (
  UPDATE task_devices d SET progress = $7::json FROM held h
  WHERE d.id = $5 AND d.id BETWEEN h.first_id AND h.last_id AND d.command_status = 'SENT' AND d.tries = $6
  RETURNING d.id
)
SELECT (SELECT $5 BETWEEN h.first_id AND h.last_id FROM held h), (SELECT count(*) FROM kept)
"""
_REFUSE = "SELECT metercast_refuse($1, $2, $3, $4, $5)"


class _Alike(NamedTuple):
    """What results can have in common: all but their device and its values."""

    tries: int
    status: DeviceStatus
    error: ErrorWord | None
    detail: str | None
    how: How | None
    used: int
    association_failures: int
    verify_first: bool
    delay_seconds: float
    count_try: bool


_but_device = attrgetter(*_Alike._fields)


class PostgresAttempts:
    """Implements the attempts of store.attempts.AttemptStore."""

    database: Database

    async def begin_attempts(self, lease: Lease, devices: Sequence[OpenDevice]) -> Begun:
        # Meters are locked in the order of their keys, so that two batches never wait for each other.
        keyed = [(lock_key(device.device_id), device.position, device) for device in devices]
        keyed.sort()
        positions = [position for _, position, _ in keyed]
        row = await self.database.call(
            _BEGIN,
            *_named(lease),
            self.database.clock(),
            *_bounds(positions),
            [key for key, _, _ in keyed],
            positions,
            [device.device_id for _, _, device in keyed],
            [device.tries for _, _, device in keyed],
            _SUPERSEDING,
            _SUPERSEDED,
        )
        status, begun, numbers, documents, secrets, progresses, locked, waits, ended = row
        _check(lease, status)
        found = []
        if begun is not None:
            ids = {device.position: device.device_id for device in devices}
            found = [
                BegunDevice(
                    position,
                    number,
                    SealedMeter(ids[position], document, secret),
                    None if progress is None else json_or_none(progress),
                )
                for position, number, document, secret, progress in zip(
                    begun, numbers, documents, secrets, progresses, strict=True
                )
            ]
        return Begun(TaskStatus(status), found, locked or [], waits or [], ended or [])

    async def keep_progress(self, lease: Lease, position: int, tries: int, progress: Any) -> None:
        row = await self.database.call(
            _KEEP_PROGRESS, *_named(lease), self.database.clock(), position, tries, json_text(progress)
        )
        is_within, kept = row
        if is_within is False:
            raise ValueError(f"bucket {lease.bucket_id} does not hold the position {position}")
        if not kept:
            raise LeaseLost(f"bucket {lease.bucket_id} is not ours, or {position} is not SENT in attempt {tries}")

    async def record_results(self, lease: Lease, results: Sequence[Result]) -> list[Transition]:
        now = self.database.clock()
        if len({result.position for result in results}) < len(results):
            results = list({result.position: result for result in reversed(results)}.values())[
                ::-1
            ]  # the first of each
        row = await self._record(lease, now, results, cancelled=False)
        if row[0] == TaskStatus.CANCELLED:
            # A task that is cancelled stays so: what its results mean then is known.
            results = [in_cancelled_task(result) for result in results]
            row = await self._record(lease, now, results, cancelled=True)
        moved = row[1]
        if moved is None:
            return []
        if len(moved) < len(results):
            really = frozenset(moved)
            results = [result for result in results if result.position in really]
        task_id = row[2]
        return [Transition(task_id, each.device_id, each.status, each.error) for each in results]

    async def _record(self, lease: Lease, now: datetime, results: Sequence[Result], *, cancelled: bool) -> Any:
        groups = _groups(results)
        positions = [position for group in groups.values() for position in group]
        alike = [_Alike(*values) for values in groups]
        if not cancelled and not _ENDS_IN.issuperset(each.status for each in alike):
            raise ValueError(f"a session ends in {', '.join(sorted(_ENDS_IN))} only")
        valued = [r for r in results if r.result is not None]
        progressed = [r for r in results if r.progress is not None]
        row = await self.database.call(
            _RECORD,
            *_named(lease),
            now,
            *_bounds(positions),
            cancelled,
            positions,
            [*accumulate(map(len, groups.values()))],
            [each.tries for each in alike],
            [each.status for each in alike],
            [each.error for each in alike],
            [storable(each.detail) for each in alike],
            [each.how for each in alike],
            [each.used for each in alike],
            [each.association_failures for each in alike],
            [each.verify_first for each in alike],
            [_next_at(each, now) for each in alike],
            [not each.count_try for each in alike],
            [r.position for r in valued],
            [json_text(r.result) for r in valued],
            [r.position for r in progressed],
            [json_text(r.progress) for r in progressed],
        )
        _check(lease, row[0])
        return row

    async def refuse_devices(
        self, lease: Lease, positions: Sequence[int], error: ErrorWord, detail: str
    ) -> list[Transition]:
        async def work(connection: Connection, now: datetime) -> list[Transition]:
            held = await connection.fetchrow(_HELD, *_named(lease), now)
            lowest, highest = _bounds(positions)
            outside = held is not None and lowest is not None and not held[1] <= lowest <= highest <= held[2]
            _check(lease, None if held is None else _OUTSIDE if outside else held[0])
            arguments = (lease.bucket_id, now, list(positions), error, storable(detail))
            refused = await connection.fetchval(_REFUSE, *arguments)
            return [Transition(held[0], device_id, DeviceStatus.FAILED, error) for device_id in refused or ()]

        return await self.database.write(work)

    async def record_late_result(self, task_id: str, result: Result) -> Transition | None:
        return await self.database.write(lambda connection, now: late.record(connection, now, task_id, result))


def _groups(results: Sequence[Result]) -> dict[tuple[Any, ...], list[int]]:
    """The positions of results that are alike, by what they have in common."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    last: tuple[Any, ...] | None = None
    group: list[int] = []
    for result in results:
        values = _but_device(result)
        if values != last:  # which costs less than a look into `groups`; most are like the one before
            group = groups.setdefault(values, [])
            last = values
        group.append(result.position)
    return groups


def _named(lease: Lease) -> tuple[Any, str, int]:
    return lease.bucket_id, lease.owner, lease.epoch


def _bounds(positions: Collection[int]) -> Any:
    return (min(positions), max(positions)) if positions else (None, None)


def _check(lease: Lease, status: str | None) -> None:
    """What the database said of the lease and the positions."""
    if status is None:
        raise LeaseLost(f"the lease of bucket {lease.bucket_id} at epoch {lease.epoch} is not ours")
    if status == _OUTSIDE:
        raise ValueError(f"bucket {lease.bucket_id} does not hold all of these positions")


def _next_at(alike: _Alike, now: datetime) -> datetime | None:
    return later(now, alike.delay_seconds) if alike.status is DeviceStatus.PENDING and alike.delay_seconds else None
