"""What looking something up costs with 10,000,000 device commands of history in the tables, of its cost without.

Two databases of one kind: one with the history, one without, and in both the same small tasks of 50 devices. Each
figure is the median of the rounds' ratios; both sides give the same answer. The device that is asked for is in ten of
the small tasks, and in ten of the history besides.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from bench.databases import KINDS, Databases, open_migrated
from bench.figure import Figure
from bench.fleet import Names, new_task
from bench.history_rows import ROWS, write_history
from bench.pairs import time_figure
from metercast.databases import open_store
from metercast.store.contract import Store
from metercast.store.tasks import TaskQuery

SMALL_TASKS, SMALL_SIZE = 20, 50
PAGE = 10
CALLS, ROUNDS = 100, 15

Call = Callable[[Store, int], Awaitable[None]]


async def get_task(store: Store, number: int) -> None:
    """As `GET /tasks/{taskId}`: the header, and the whole stream of the devices."""
    task = await store.get_task(_small(number))
    length = sum([len(piece) async for piece in store.stream_devices(task.task_id)])
    assert task.counts.total == SMALL_SIZE
    assert length > SMALL_SIZE


async def find_command(store: Store, number: int) -> None:
    page = await store.list_tasks(TaskQuery(command_id=f"command-{_small(number)}"), PAGE, None)
    assert [each.task_id for each in page.items] == [_small(number)]


async def find_device(store: Store, number: int) -> None:
    """The meters of the even tasks are those of every other even task, and so for the odd ones."""
    device_id = Names(2 * SMALL_SIZE)[number % 2 * SMALL_SIZE + number % SMALL_SIZE]
    page = await store.list_tasks(TaskQuery(device_id=device_id), PAGE, None)
    assert len(page.items) == PAGE
    assert {each.counts.total for each in page.items} == {SMALL_SIZE}


async def newest(store: Store, number: int) -> None:
    page = await store.list_tasks(TaskQuery(), PAGE, None)
    assert len(page.items) == PAGE


async def look(store: Store, number: int) -> None:
    """As the scheduler does four times a second."""
    await store.start_due_tasks()
    await store.expire_due()
    await store.due_buckets(PAGE)
    await store.finalise_ended()


MEASURED: Sequence[tuple[str, Call, float | None]] = (
    ("GET of a small task", get_task, 1.5),
    ("lookup by commandId", find_command, 1.5),
    ("lookup by deviceId", find_device, 1.5),
    ("the newest tasks", newest, None),
    ("a pass of the scheduler", look, None),
)


def _small(number: int) -> str:
    return f"small-{number % SMALL_TASKS}"


async def _fill(store: Store) -> None:
    fleet = Names(2 * SMALL_SIZE)
    for number in range(SMALL_TASKS):
        half = fleet[number % 2 * SMALL_SIZE :][:SMALL_SIZE]
        await store.create_task(new_task(_small(number)), half, allow_unknown=True)


async def _time(call: Call, url: str) -> float:
    """Seconds a call, on a store that is opened for these calls and warm: which core the system gives its threads
    weighs as much as the call, and would else stay the same through all rounds."""
    store = await open_store(url)
    try:
        for number in range(SMALL_TASKS):
            await call(store, number)
        began = time.perf_counter()
        for number in range(CALLS):
            await call(store, number)
        return (time.perf_counter() - began) / CALLS
    finally:
        await store.close()


async def figures(databases: Databases) -> list[Figure]:
    url, store = await open_migrated(databases, "history")
    await store.close()
    began = time.perf_counter()
    raw = await databases.open_raw(url)
    await write_history(raw)
    await raw.close()
    written = time.perf_counter() - began
    empty_url, empty = await open_migrated(databases, "no_history")
    full = await open_store(url)
    for each in (full, empty):
        await _fill(each)
        await each.close()
    found = []
    for name, call, bar in MEASURED:
        theirs: list[float] = []
        ours: list[float] = []
        for _ in range(ROUNDS):
            theirs.append(await _time(call, empty_url))
            ours.append(await _time(call, url))
        title = f"{databases.name}, {ROWS:,} rows of history: {name} / on an empty database"
        found.append(time_figure(title, theirs, ours, bar, raw=f"empty; {CALLS} calls a round"))
    print(f"        {databases.name}: history written in {written:.0f} s", flush=True)
    return found


def run() -> list[Figure]:
    found: list[Figure] = []
    for kind in KINDS:
        with kind() as databases:
            found += uvloop.run(figures(databases))
    return found
