"""A store that is away at any call: nothing is lost, nothing runs twice at once, and the counts agree."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.engine.harness import LIMITS, Visit, World, names

from metercast.domain.outcome import Outcome, Phase
from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.domain.words import ErrorWord
from metercast.store.contract import Store
from metercast.store.errors import StoreUnavailable

CALLS = (
    "start_due_tasks",
    "expire_due",
    "due_buckets",
    "finalise_ended",
    "lease_bucket",
    "renew_leases",
    "release_bucket",
    "begin_attempts",
    "record_results",
    "refuse_devices",
)


class Shaky:
    """A store of which `fails(name, number)` says which calls fail, counted by name from 1."""

    def __init__(self, store: Store, fails: Callable[[str, int], bool], *, after: bool = False) -> None:
        self.failures: Counter[str] = Counter()
        self._store = store
        self._fails = fails
        self._after = after
        self._numbers: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in CALLS:
            return method

        async def call(*arguments: Any) -> Any:
            self._numbers[name] += 1
            fails = self._fails(name, self._numbers[name])
            self.failures[name] += fails
            if fails and not self._after:
                raise StoreUnavailable("database is locked")
            result = await cast("Callable[..., Awaitable[Any]]", method)(*arguments)
            if fails:
                raise StoreUnavailable("the connection broke after it was done")
            return result

        return call


async def sometimes_fails(visit: Visit) -> Outcome:
    visit.send()
    if visit.number == 1 and visit.device_id.endswith("5"):
        return Outcome.failed(ErrorWord.TEMPORARY_FAILURE, "once", Phase.READING)
    return Outcome.done()


async def run_through(tmp_path: Path, fails: Callable[[str, int], bool], *, after: bool = False) -> tuple[World, Shaky]:
    """Known and unknown devices, retries and two tasks on the same meters, on a store that fails."""
    shaky: list[Shaky] = []

    def wrapped(store: Store) -> Store:
        shaky.append(Shaky(store, fails, after=after))
        return cast("Store", shaky[0])

    limits = msgspec.structs.replace(LIMITS, lease_seconds=0.6)
    world = await World.open(tmp_path, limits, wrapped)
    try:
        world.driver.scripts["READ"] = sometimes_fails
        meters = names(30)
        await world.register(meters)
        await world.submit("first", [*meters, "ghost"], register=False, bucket_size=10)
        await world.submit("second", meters[:15], command="WRITE", bucket_size=10, due_in=0.1)
        await world.engine.start()
        first, second = await world.final("first"), await world.final("second")
        assert first.status is second.status is TaskStatus.COMPLETED
        assert (first.counts.success, first.counts.failed, second.counts.success) == (30, 1, 15)
        assert world.driver.overlaps == []
    finally:
        await world.close()
    return world, shaky[0]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("call", [each for each in CALLS if each != "renew_leases"])
async def test_each_call_may_fail_once(tmp_path: Path, call: str, number: int) -> None:
    _, shaky = await run_through(tmp_path, lambda name, count: name == call and count == number)
    if number == 1:
        assert shaky.failures[call] == 1


@pytest.mark.parametrize("seed", range(2))
async def test_four_calls_of_ten_fail_at_random(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    _, shaky = await run_through(tmp_path, lambda name, count: chance.random() < 0.4)
    assert shaky.failures.total() > 5


@pytest.mark.parametrize("call", ["lease_bucket", "begin_attempts", "record_results", "release_bucket"])
async def test_a_call_that_was_done_and_said_no_is_found_out(tmp_path: Path, call: str) -> None:
    """As a server behind a network does; commands that may be sent again end as if nothing had been."""
    _, shaky = await run_through(tmp_path, lambda name, count: name == call and count == 1, after=True)
    assert shaky.failures[call] == 1


async def test_the_results_of_a_long_outage_are_all_kept(tmp_path: Path) -> None:
    away = False
    world = await World.open(tmp_path, LIMITS, lambda store: cast("Store", Shaky(store, lambda name, count: away)))
    await world.engine.start()
    away_until_all_ended = names(20)

    async def ends(visit: Visit) -> Outcome:
        nonlocal away
        visit.send()
        away = True
        return Outcome.done({"of": visit.device_id})

    world.driver.scripts["ONCE"] = ends
    await world.submit("task", away_until_all_ended, command="ONCE")
    await world.driver.until(lambda: len(world.driver.visits) == 20 and world.driver.in_session == 0)
    assert await world.with_status("task", DeviceStatus.SENT) == 20
    away = False
    assert (await world.final("task")).counts.success == 20
    detail = await world.store.get_device_command("task", "meter-007")
    assert detail.result == {"of": "meter-007"}
    assert len(world.driver.visits) == 20
    await world.close()


async def test_drain_ends_in_its_grace_time_while_the_store_is_away(tmp_path: Path) -> None:
    away = False
    world = await World.open(tmp_path, LIMITS, lambda store: cast("Store", Shaky(store, lambda name, count: away)))
    await world.engine.start()

    async def ends(visit: Visit) -> Outcome:
        nonlocal away
        visit.send()
        away = True
        return Outcome.done()

    world.driver.scripts["READ"] = ends
    await world.submit("task", ["meter"])
    await world.driver.reached(1)
    assert await world.engine.drain(0.1) is False
    away = False
    world.driver.scripts.clear()
    await world.restart()
    assert (await world.final("task")).counts.success == 1
    await world.close()


async def test_an_error_that_nobody_expected_does_not_end_the_engine(tmp_path: Path) -> None:
    class Broken(Shaky):
        def __getattr__(self, name: str) -> Any:
            method = super().__getattr__(name)
            if name not in CALLS:
                return method

            async def call(*arguments: Any) -> Any:
                self._numbers[name] += 1
                if self._numbers[name] == 2:
                    raise AssertionError(f"a defect in {name}")
                return await method(*arguments)

            return call

    world = await World.open(
        tmp_path,
        msgspec.structs.replace(LIMITS, lease_seconds=0.6),
        lambda store: cast("Store", Broken(store, lambda name, count: False)),
    )
    await world.engine.start()
    await world.submit("task", names(40), bucket_size=5)
    assert (await world.final("task")).counts.success == 40
    assert world.engine.running
    await world.close()
