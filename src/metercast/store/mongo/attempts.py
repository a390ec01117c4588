"""Attempts on MongoDB: begin, record, refuse. The hot path: one update of the bucket for many devices.

Each call may be cut after any of its writes. Its order, and what mends a cut:

- begin: meters' locks, older commands void, then the devices SENT. A lock whose lease died is free; one of the same
  lease is taken again by the call's repetition.
- record: history, then the devices, then the locks given up and open_commands forgotten. History without its devices
  does not count; locks die with the lease; open_commands are forgotten at the task's end at the latest. The call's
  repetition does what is left of it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from metercast.domain.command import ConflictGroup
from metercast.domain.meter import SealedMeter
from metercast.domain.states import (
    DEVICE_TRANSITIONS,
    FINAL_DEVICE,
    DeviceEvent,
    DeviceStatus,
    TaskStatus,
    states_before,
)
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
from metercast.store.mongo import conflicts, history, locks
from metercast.store.mongo.changes import Changes
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.held import Held, living, read_held
from metercast.store.mongo.history import Keeping
from metercast.store.mongo.lookup import by_id
from metercast.store.mongo.rounds import Rounds
from metercast.store.mongo.times import find_time, later
from metercast.store.mongo.types import Document

(_BEGINS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.BEGIN)
(_REFUSED_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.REFUSE)
(_ENDS_FROM,) = states_before(DEVICE_TRANSITIONS, DeviceEvent.SUCCEED)
_ENDS_IN = frozenset(after for (before, _), after in DEVICE_TRANSITIONS.items() if before is _ENDS_FROM)

_SUPERSEDED = "a newer command of its kind ran on this meter first"


class MongoAttempts:
    """Implements the attempts of store.attempts.AttemptStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def begin_attempts(self, lease: Lease, devices: Sequence[OpenDevice]) -> Begun:
        asked = {device.position: device for device in devices}
        held, meters = await asyncio.gather(
            read_held(self.database, lease, asked), meters_of(self.database, [each.device_id for each in devices])
        )
        locked: dict[str, int] = {}
        rounds = Rounds(f"bucket {lease.bucket_id}")
        while True:
            await rounds.next()
            begun = await _begin(self.database, held, asked, meters, locked)
            if begun is not None:
                for each in begun.begun:
                    locked.pop(each.meter.device_id, None)
                await locks.give_up(self.database, lease, locked)
                return begun
            held = await read_held(self.database, lease, asked)

    @call
    async def keep_progress(self, lease: Lease, position: int, tries: int, progress: Any) -> None:
        """The new one is written before the device names it, and the old one goes after that."""
        rounds = Rounds(f"bucket {lease.bucket_id}")
        while True:
            await rounds.next()
            held = await read_held(self.database, lease, {position})
            device = held.of(position, _ENDS_FROM)
            if device is None or device["attempts"] != tries:
                raise LeaseLost(f"the device at {position} is not SENT in attempt {tries}")
            keeping = Keeping(self.database, held.task_id)
            key = keeping.keep("progress", device["deviceId"], progress)
            changes = Changes(held.place, held.counts, living(lease, held.now))
            changes.touch(position, device, {"progressKey": key})
            if await _made(self.database, changes, keeping):
                await keeping.forget([device["progressKey"]] if "progressKey" in device else [])
                return
            await keeping.forget([key])

    @call
    async def record_results(self, lease: Lease, results: Sequence[Result]) -> list[Transition]:
        rounds = Rounds(f"bucket {lease.bucket_id}")
        while True:
            await rounds.next()
            held = await read_held(self.database, lease, {result.position for result in results})
            if not _ENDS_IN.issuperset(result.status for result in results):
                raise ValueError(f"a session ends in {', '.join(sorted(_ENDS_IN))} only")
            moved = await _record(self.database, held, results)
            if moved is not None:
                await _let_go(self.database, held, results, moved)
                return [Transition(held.task_id, each.device_id, each.status, each.error) for each in moved]

    @call
    async def refuse_devices(
        self, lease: Lease, positions: Sequence[int], error: ErrorWord, detail: str
    ) -> list[Transition]:
        rounds = Rounds(f"bucket {lease.bucket_id}")
        while True:
            await rounds.next()
            held = await read_held(self.database, lease, positions)
            changes, keeping = held.changes(), Keeping(self.database, held.task_id)
            refused = {each: device for each in positions if (device := held.of(each, _REFUSED_FROM)) is not None}
            for position, device in refused.items():
                _refuse(changes, keeping, held, position, device, error, detail)
            if await _made(self.database, changes, keeping):
                ids = [device["deviceId"] for device in refused.values()]
                if held.group is not ConflictGroup.NONE:
                    await conflicts.forget(self.database, held.task_id, ids)
                return [Transition(held.task_id, each, DeviceStatus.FAILED, error) for each in ids]


async def meters_of(database: Database, device_ids: Sequence[str]) -> dict[str, SealedMeter]:
    """Those that are registered. One may change right after as well: its session has what it had."""
    found = by_id(database.devices, device_ids, {"document": 1, "sealed": 1})
    return {each["_id"]: SealedMeter(each["_id"], each["document"], each["sealed"]) async for each in found}


async def _begin(
    database: Database,
    held: Held,
    asked: dict[int, OpenDevice],
    meters: dict[str, SealedMeter],
    locked: dict[str, int],
) -> Begun | None:
    """None where a device, the task or the lease has changed since it was read. What it locks is put into `locked`."""
    if held.status is not TaskStatus.IN_PROGRESS:
        return Begun(held.status, [], [], [], [])
    if held.expires_at <= held.now:
        return Begun(held.status, [], [], [], list(asked))
    pending = {each: device for each in asked if (device := held.of(each, _BEGINS_FROM)) is not None}
    void = {each for each, device in pending.items() if device.get("superseded")}
    able = {each: pending[each] for each in pending.keys() - void if pending[each]["deviceId"] in meters}
    attempts = {device["deviceId"]: device["attempts"] + 1 for device in able.values()}
    ours = await locks.take(database, held.lease, attempts, held.now)
    locked.update({each: attempts[each] for each in ours})
    waits: set[str] = set()
    if held.group is not ConflictGroup.NONE and attempts:
        others = await conflicts.look(database, held, attempts)
        waits = others.waits
        older = [each for device_id in ours - waits for each in others.void.get(device_id, ())]
        if older and not await conflicts.supersede(database, held, older):
            return None
    begins = {each: device for each, device in able.items() if device["deviceId"] in ours - waits}
    changes, keeping = held.changes(), Keeping(database, held.task_id)
    for position, device in begins.items():
        _mark_sent(changes, held, position, device)
    for position in void:
        _refuse(changes, keeping, held, position, pending[position], ErrorWord.SUPERSEDED, _SUPERSEDED)
    if not await _made(database, changes, keeping):
        return None
    if void:
        await conflicts.forget(database, held.task_id, [pending[each]["deviceId"] for each in void])
    again = await _begun_before(database, held, asked, meters)
    begun = await _handed_over(database, held, begins, meters, 1) + await _handed_over(database, held, again, meters, 0)
    waiting = [each for each, device in able.items() if device["deviceId"] in waits]
    return Begun(
        held.status,
        begun,
        [each for each in able if each not in begins and each not in waiting],
        waiting,
        [each for each in asked if each not in able and each not in again],
    )


async def _begun_before(
    database: Database, held: Held, asked: dict[int, OpenDevice], meters: dict[str, SealedMeter]
) -> dict[int, Document]:
    """Those that this call has begun already, when its answer was lost: what was begun under this lease has its lock
    until its result is recorded."""
    sent = {
        each: device
        for each in asked
        if (device := held.of(each, _ENDS_FROM)) is not None
        and device["attempts"] == asked[each].tries + 1
        and device["deviceId"] in meters
    }
    ours = await locks.ours(database, held.lease, [device["deviceId"] for device in sent.values()])
    return {each: device for each, device in sent.items() if device["deviceId"] in ours}


async def _handed_over(
    database: Database, held: Held, devices: dict[int, Document], meters: dict[str, SealedMeter], ahead: int
) -> list[BegunDevice]:
    """`ahead` is what the attempt's number is above the one that was read."""
    keys = {position: device["progressKey"] for position, device in devices.items() if "progressKey" in device}
    progress = await history.values(database, held.task_id, list(keys.values()))
    return [
        BegunDevice(
            position,
            device["attempts"] + ahead,
            meters[device["deviceId"]],
            progress[keys[position]] if position in keys else None,
        )
        for position, device in devices.items()
    ]


def _mark_sent(changes: Changes, held: Held, position: int, device: Document) -> None:
    fields = {
        "attempts": device["attempts"] + 1,
        "error": None,
        "errorDetail": None,
        "errorDetailKey": None,
        "nextAttemptAt": None,
        "sentAt": held.now,
    }
    changes.move(position, device, DeviceStatus.SENT, held.now, fields)


def _refuse(
    changes: Changes, keeping: Keeping, held: Held, position: int, device: Document, error: ErrorWord, detail: str
) -> None:
    fields: dict[str, Any] = {"deviceId": device["deviceId"], "error": error, "nextAttemptAt": None}
    keeping.keep_detail(fields, detail)
    changes.move(position, device, DeviceStatus.FAILED, held.now, fields)


async def _made(database: Database, changes: Changes, keeping: Keeping) -> bool:
    """Whether the changes were made, or there are none. What is kept of them is written before."""
    if not changes:
        return True
    await keeping.write()
    return await changes.make(database)


async def _record(database: Database, held: Held, results: Sequence[Result]) -> list[Result] | None:
    """Those that moved: they were SENT in the attempt they name. None where something has changed since the read."""
    changes, keeping = held.changes(), Keeping(database, held.task_id)
    ending: dict[int, Result] = {}
    for each in results:
        if _ends(held, each):
            ending.setdefault(each.position, each)
    moved = list(ending.values())
    if held.status is TaskStatus.CANCELLED:
        moved = [in_cancelled_task(each) for each in moved]
    replaced: list[str] = []
    for result in moved:
        device = held.devices[result.position]
        fields = _recorded(held, keeping, device, result)
        if "progressKey" in fields and "progressKey" in device:
            replaced.append(device["progressKey"])
        changes.move(result.position, device, result.status, held.now, fields)
    if not await _made(database, changes, keeping):
        return None
    await keeping.forget(replaced)
    return moved


def _ends(held: Held, result: Result) -> bool:
    device = held.of(result.position, _ENDS_FROM)
    return device is not None and device["attempts"] == result.tries and device["deviceId"] == result.device_id


def _recorded(held: Held, keeping: Keeping, device: Document, result: Result) -> dict[str, Any]:
    """What a result changes of its device. What is too much for the bucket goes to the history."""
    waits = result.status is DeviceStatus.PENDING and result.delay_seconds
    fields: dict[str, Any] = {
        "deviceId": device["deviceId"],
        "error": result.error,
        "how": result.how,
        "used": result.used or None,
        "associationFailures": result.association_failures or None,
        "verifyFirst": result.verify_first or None,
        "nextAttemptAt": later(held.now, result.delay_seconds) if waits else None,
        "attempts": device["attempts"] - (not result.count_try),
    }
    keeping.keep_detail(fields, result.detail)
    if result.error is not None:
        started_at = find_time(device, "sentAt")
        keeping.keep_attempt(
            result.device_id, result.tries, held.lease.epoch, started_at, held.now, result.error, result.detail
        )
    for kind, value in (("result", result.result), ("progress", result.progress)):
        if value is not None:
            fields[kind + "Key"] = keeping.keep(kind, result.device_id, value)
    return fields


async def _let_go(database: Database, held: Held, results: Sequence[Result], moved: Sequence[Result]) -> None:
    """What is no longer SENT needs no lock. Also for what an earlier call moved whose answer was lost."""
    ended = {each.device_id: each.tries for each in moved}
    final = {each.device_id for each in moved if each.status in FINAL_DEVICE}
    for each in results:
        device = held.devices[each.position]
        status = device["commandStatus"]
        if status != _ENDS_FROM and each.tries <= device["attempts"] + (not each.count_try):
            ended[device["deviceId"]] = each.tries
            if status in FINAL_DEVICE:
                final.add(device["deviceId"])
    await locks.give_up(database, held.lease, ended)
    if held.group is not ConflictGroup.NONE:
        await conflicts.forget(database, held.task_id, final)
