"""The connection is cut at every point of every call: it was carried out or it was not, and can be made again."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.servers.proxy import Direction, FaultProxy
from tests.store.cut_calls import CASES, Case, Moment, create_large, nothing
from tests.store.fleet import Spool, begun_bucket, create, meter, new_task, streamed, success
from tests.store.harness import BEHIND_PROXY, StoreHarness, statuses

from metercast.domain.states import DeviceStatus, TaskStatus
from metercast.store.errors import StoreUnavailable
from metercast.store.tasks import CREATE_CHUNK, UNSEALED_SECONDS

MOST_POINTS = 400


@pytest.fixture(params=list(BEHIND_PROXY))
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreHarness]:
    """A store whose connections go through a proxy."""
    started = await BEHIND_PROXY[request.param](tmp_path)
    yield started
    assert started.proxy is not None
    started.proxy.heal()
    await started.close()


async def again(moment: Moment, case: Case) -> None:
    """Until it gets through. A claim of before that still lives ends with its time."""
    async with asyncio.timeout(20):
        while True:
            try:
                moment.answers.append(await case.call(moment))
            except StoreUnavailable:
                await asyncio.sleep(0.02)
                moment.harness.clock.advance(UNSEALED_SECONDS + 1 if case.call is create_large else 0)
            except case.refused:
                return
            else:
                return


async def cut(moment: Moment, case: Case, proxy: FaultProxy, point: int, direction: Direction, refuse: bool) -> bool:
    """One call that is cut after so many chunks, if it takes so many; whether it was cut."""
    await case.before(moment)
    cuts = proxy.cuts
    # Refused also where the store itself had to repeat what was carried out.
    expected: tuple[type[Exception], ...] = (StoreUnavailable, *case.refused)
    proxy.cut_after(point, direction, refuse=refuse)
    try:
        async with asyncio.timeout(20):
            moment.answers.append(await case.call(moment))
    except expected:
        assert proxy.cuts > cuts, "nothing was cut"
    happened = proxy.cuts > cuts
    proxy.heal()
    await again(moment, case)
    await case.check(moment)
    return happened


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("name", list(CASES))
async def test_a_call_that_is_cut_anywhere_happened_or_did_not_and_can_be_repeated(
    harness: StoreHarness, name: str, direction: Direction
) -> None:
    proxy = harness.proxy
    assert proxy is not None
    case = CASES[name]
    # Every other point, which both directions and both ends of a message make up for; of a slow server fewer.
    for number, point in enumerate(itertools.islice(case.points(), 0, None, 2 if harness.slowness == 1 else 3)):
        # In turns the server is back at once, and away until later.
        if not await cut(Moment(harness, f"t{number}"), case, proxy, point, direction, number % 2 == 1):
            break
        assert number < MOST_POINTS
    assert number > 0, "no cut at all"


async def test_away_for_a_while_every_call_says_so_and_then_goes_on(harness: StoreHarness) -> None:
    proxy = harness.proxy
    assert proxy is not None
    await create(harness, "t", ["a", "b"])
    proxy.refuse()
    proxy.cut()
    store = harness.store
    for call in (
        lambda: store.ping(),
        lambda: store.get_task("t"),
        lambda: streamed(harness, "t"),
        lambda: store.due_buckets(10),
        lambda: store.put_devices([meter("c")]),
        lambda: store.create_task(new_task("u"), ["a"], allow_unknown=False),
        lambda: store.cancel_task("t"),
        lambda: store.sweep_unsealed(10),
    ):
        async with asyncio.timeout(10):
            with pytest.raises(StoreUnavailable):
                await call()
    proxy.heal()

    moment = Moment(harness, "t")
    await again(moment, Case(lambda m: store.get_task("t"), nothing))
    assert moment.answers[0].status is TaskStatus.IN_PROGRESS
    assert await store.count_devices() == 2
    assert await harness.raw_task("u") is None
    bucket = await begun_bucket(harness, "t")
    assert statuses(await harness.raw_devices("t")) == {"a": "SENT", "b": "SENT"}
    await store.record_results(bucket.lease, [success(bucket, number) for number in range(2)])
    assert {each.command_status for each in await streamed(harness, "t")} == {DeviceStatus.SUCCESS}


async def test_cut_in_the_middle_of_a_stream_it_ends_with_an_error_and_not_early(harness: StoreHarness) -> None:
    proxy = harness.proxy
    assert proxy is not None
    spool = Spool(CREATE_CHUNK)
    await harness.store.create_task(new_task("t", bucket_size=500), spool, allow_unknown=True)

    async def read() -> None:
        async for _ in harness.store.stream_devices("t"):
            proxy.refuse()
            proxy.cut()

    with pytest.raises(StoreUnavailable):
        await read()
    proxy.heal()
    moment = Moment(harness, "t")
    await again(moment, Case(lambda m: streamed(harness, "t"), nothing))
    assert [each.device_id for each in moment.answers[0]] == spool.ids()
