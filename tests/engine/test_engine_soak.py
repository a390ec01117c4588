"""Many tasks of all kinds on the same meters, with random ends, acts and outages: what must hold at the end, holds."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import cast

import pytest
from tests.engine.harness import FAST, LIMITS, Visit, World, names
from tests.engine.test_engine_store_unavailable import Shaky

from metercast.domain.outcome import Outcome, Phase
from metercast.domain.states import FINAL_DEVICE, DeviceStatus, IllegalTransition
from metercast.domain.words import ErrorWord
from metercast.driver.contract import GiveBack
from metercast.store.contract import Store

METERS = names(40)
# Tasks, and devices in each: the MongoDB-wire server of the tests takes a hundred times as long as the others.
SIZES = {"sqlite": (14, 30), "postgres": (14, 30), "mongodb": (4, 10)}
COMMANDS = ("READ", "WRITE", "ONCE", "DISCONNECT", "RECONNECT", "SYNC", "UPLOAD")
FAILURES = (
    (ErrorWord.CONNECTION_REFUSED, Phase.BEFORE_ASSOCIATION),
    (ErrorWord.TIMEOUT, Phase.ASSOCIATING),
    (ErrorWord.METER_BUSY, Phase.ASSOCIATING),
    (ErrorWord.TEMPORARY_FAILURE, Phase.READING),
    (ErrorWord.CONNECTION_LOST, Phase.CHANGING),
    (ErrorWord.HARDWARE_FAULT, Phase.CHANGING),
)


class Chaos:
    """A script with random outcomes; notes what really reached a meter."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.changed: Counter[tuple[str, str]] = Counter()

    async def __call__(self, visit: Visit) -> Outcome:
        visit.send()
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0 if self.random.random() < 0.7 else 0.003)
        if self.random.random() < 0.35 and visit.number < 12:
            error, phase = self.random.choice(FAILURES)
            if phase is Phase.CHANGING:
                visit.checkpoint.may_change()
                self.changed[visit.command, visit.device_id] += 1
            if self.random.random() < 0.05:
                raise RuntimeError("a defect of the driver")
            return Outcome.failed(error, "chaos", phase)
        try:
            visit.checkpoint.may_change()
        except GiveBack as reason:
            return Outcome.given_back(str(reason))
        if visit.command == "UPLOAD" and visit.number < 3:
            return Outcome.checkpoint({"session": visit.number})
        self.changed[visit.command, visit.device_id] += 1
        return Outcome.done({"session": visit.number})


async def act_at_random(world: World, task_ids: list[str], chance: random.Random) -> None:
    for _ in range(25):
        await asyncio.sleep(0.01)
        task_id = chance.choice(task_ids)
        act = chance.choice((world.store.pause_task, world.store.resume_task, world.store.resume_task))
        if chance.random() < 0.06:
            act = world.store.cancel_task
        try:
            await act(task_id)
        except IllegalTransition:
            continue
        world.engine.changed(task_id)
    for task_id in task_ids:
        try:
            await world.store.resume_task(task_id)
        except IllegalTransition:
            continue
        world.engine.changed(task_id)


@pytest.mark.parametrize("seed", range(4))
async def test_soak(tmp_path: Path, kind_of_store: str, seed: int) -> None:
    chance, chaos = random.Random(seed), Chaos(seed)
    tasks, devices = SIZES[kind_of_store]

    def wrapped(store: Store) -> Store:
        return cast("Store", Shaky(store, lambda name, count: chance.random() < 0.02))

    world = await World.open(tmp_path, LIMITS, wrapped)
    world.driver.scripts |= dict.fromkeys(COMMANDS, chaos)
    await world.register(METERS[:10], "gateway", 2)
    await world.register(METERS[10:])
    await world.engine.start()
    task_ids: list[str] = []
    for number in range(tasks):
        task_ids.append(f"task-{number}")
        await world.submit(
            task_ids[-1],
            [*chance.sample(METERS, devices), f"ghost-{number}"],
            command=chance.choice(COMMANDS),
            priority=chance.randrange(10),
            due_in=chance.choice((0.0, 0.0, 0.1, 0.2)),
            bucket_size=chance.choice((5, 10, 50)),
            register=False,
        )
    acting = asyncio.create_task(act_at_random(world, task_ids, chance))
    if seed % 2:
        await world.driver.reached(tasks * devices // 4)
        await world.restart()
    await acting
    for task_id in task_ids:
        await world.final(task_id)  # and its counts are those of its rows
    for task_id in task_ids:
        for row in await world.devices(task_id):
            detail = await world.store.get_device_command(task_id, row.device_id)
            assert row.command_status in FINAL_DEVICE
            counted = [each for each in detail.attempts_made if not _is_free(each.error)]
            assert len(counted) <= FAST.max_attempts + (2 if seed % 2 else 0) or detail.command_type == "UPLOAD", detail
            if row.command_status is not DeviceStatus.CANCELLED:  # which keeps its last reason, if there was one
                assert (row.error is None) == (row.command_status is DeviceStatus.SUCCESS), row
    assert world.driver.overlaps == []
    assert world.driver.most <= LIMITS.sessions
    assert world.driver.most_in_channel["gateway"] <= 2
    asked: Counter[str] = Counter()
    for task_id in task_ids:
        if (await world.store.get_task(task_id)).command_type == "ONCE":
            asked.update(row.device_id for row in await world.devices(task_id))
    for (command, device_id), times in chaos.changed.items():
        assert command != "ONCE" or times <= asked[device_id], f"{device_id}: a command that is never resent ran again"
    await world.close()


def _is_free(error: ErrorWord | None) -> bool:
    """Whether an attempt that ended so was before the association, which uses up none."""
    return error is ErrorWord.CONNECTION_REFUSED
