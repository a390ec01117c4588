"""A store against the raw side on the same database server and tables: create, move, stream.

Both sides work in turns within one run, on databases of the same shape, and what either puts off (vacuum, checkpoint)
is done between their turns.

Creation: `create_task` of registered meters, whose ids it is given to read in slices; it checks that every one of them
is registered. The raw side inserts the task, its devices and its buckets, and checks nothing. Transitions: every device
goes PENDING -> SENT -> SUCCESS, in batches of a bucket of 1,000, four buckets in hand at a time as a worker has them;
`begin_attempts` checks the lease and the order on the meter, locks the meters, and hands over their records;
`record_results` unlocks; both keep the counts. The raw side updates the rows of the devices. The stream is that of a
task of 1,000,000 devices, read by both sides from the same table.
"""

import time
from typing import NamedTuple

from bench.databases import Databases, open_migrated, open_raw
from bench.figure import Figure
from bench.fleet import DOCUMENT, MILLION, SEALED, Names, new_task
from bench.moves import lease_all, store_moves
from bench.pairs import rate_figure, time_figure
from bench.raw import BATCH, Raw
from metercast.store.contract import Store

CREATED, CREATE_ROUNDS = 100_000, 5
MILLION_ROUNDS = 2
STREAM_ROUNDS = 5
MOVED, MOVE_ROUNDS = 20_000, 9
ONE_BY_ONE = 500


class _Sides(NamedTuple):
    """The raw side and the store on databases of their own, and a raw connection to the store's."""

    raw: Raw
    store: Store
    beside: Raw

    async def close(self) -> None:
        for each in self:
            await each.close()


async def figures(databases: Databases) -> list[Figure]:
    return [*await _transitions(databases), *await _creation_and_stream(databases)]


async def _open(databases: Databases, name: str, fleet: Names) -> _Sides:
    """The fleet is registered with the store; the raw side never looks at it."""
    raw = await open_raw(databases, f"{name}_raw")
    url, store = await open_migrated(databases, f"{name}_store")
    beside = await databases.open_raw(url)
    await beside.register(fleet, DOCUMENT, SEALED)
    return _Sides(raw, store, beside)


async def _transitions(databases: Databases) -> list[Figure]:
    fleet = Names(MOVED)
    sides = await _open(databases, "moves", fleet)
    raw: list[float] = []
    ours: list[float] = []
    single: list[float] = []
    for number in range(MOVE_ROUNDS):
        await sides.raw.create(f"raw-{number}", fleet)
        await sides.raw.create(f"single-{number}", Names(ONE_BY_ONE))
        await sides.store.create_task(new_task(f"task-{number}", bucket_size=BATCH), fleet, allow_unknown=False)
        leased = await lease_all(sides.store)
        await sides.raw.settle()
        await sides.beside.settle()
        raw.append(await sides.raw.move(f"raw-{number}"))
        ours.append(await store_moves(sides.store, leased))
        single.append(await sides.raw.move_one_by_one(f"single-{number}") * MOVED / ONE_BY_ONE)
    await sides.close()
    name, what = f"{databases.name}: transitions", "transitions"
    return [
        rate_figure(f"{name} / raw batches", raw, ours, 2 * MOVED, 0.7, what=what, raw=sides.raw.how_moved),
        rate_figure(
            f"{name} / one update a transaction", single, ours, 2 * MOVED, 25, what=what,
            raw=sides.raw.how_moved_one_by_one,
        ),
    ]  # fmt: skip


async def _creation_and_stream(databases: Databases) -> list[Figure]:
    sides = await _open(databases, "tasks", Names(MILLION))
    small = await _created(sides, "small", CREATED, CREATE_ROUNDS)
    large = await _created(sides, "large", MILLION, MILLION_ROUNDS)
    streamed = await _streamed(sides, "large-0")
    await sides.close()
    name, how = f"{databases.name}: creating", sides.raw.how_created
    return [
        rate_figure(f"{name} {MILLION:,} devices / raw", *large, MILLION, 0.7, what="devices", raw=how),
        rate_figure(f"{name} {CREATED:,} devices / raw", *small, CREATED, None, what="devices", raw=how),
        time_figure(
            f"{databases.name}: streaming {MILLION:,} devices / raw", *streamed, 1.5, raw=sides.raw.how_streamed
        ),
    ]  # fmt: skip


async def _created(sides: _Sides, name: str, count: int, rounds: int) -> tuple[list[float], list[float]]:
    fleet = Names(count)
    raw: list[float] = []
    ours: list[float] = []
    for number in range(rounds):
        await sides.raw.settle()
        await sides.beside.settle()
        raw.append(await sides.raw.create(f"{name}-{number}", fleet))
        began = time.perf_counter()
        await sides.store.create_task(new_task(f"{name}-{number}"), fleet, allow_unknown=False)
        ours.append(time.perf_counter() - began)
    return raw, ours


async def _streamed(sides: _Sides, task_id: str) -> tuple[list[float], list[float]]:
    raw: list[float] = []
    ours: list[float] = []
    await sides.beside.settle()
    for _ in range(STREAM_ROUNDS):
        elapsed, length = await sides.beside.stream(task_id)
        raw.append(elapsed)
        began = time.perf_counter()
        streamed = sum([len(piece) async for piece in sides.store.stream_devices(task_id)])
        ours.append(time.perf_counter() - began)
        assert abs(streamed - length) <= MILLION, (streamed, length)  # but for what stands between the devices
    return raw, ours
