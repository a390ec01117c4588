"""What the conformance suite needs of a store under test. A new store adds a harness here, not a test file."""

import importlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from tests.servers.proxy import FaultProxy

from metercast.store.contract import Store

EPOCH = datetime(2026, 5, 8, 2, 0, tzinfo=UTC)


class ManualClock:
    """The store's clock, advanced by hand."""

    def __init__(self) -> None:
        self.now = EPOCH

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class StoreHarness(Protocol):
    """A store on fresh storage, its clock, a restart, and a look at what is really stored.

    `proxy` is what the store's connections go through, where the test asked for one; the looks do not go through it.
    `create_chunk` is how many devices the store writes at a time, `slowness` what the large numbers of tests are
    divided by, for the server of one is slower than a product's.
    `child_arguments` say how a process of its own opens the storage: "module:function", and the function's argument.
    """

    store: Store
    clock: ManualClock
    proxy: FaultProxy | None
    create_chunk: int
    slowness: int
    child_arguments: tuple[str, str]

    async def reopen(self) -> None:
        """Closes the store and opens it again on the same storage."""
        ...

    async def another(self) -> Store | None:
        """A second store on the same storage, with the same clock; None where only one can have it."""
        ...

    async def close(self) -> None: ...

    async def raw_task(self, task_id: str) -> dict[str, Any] | None:
        """task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, outcome; sealed or not."""
        ...

    async def raw_devices(self, task_id: str) -> list[dict[str, Any]]:
        """task_id, device_id, command_status, error_message, last_updated; in the task's order, sealed or not."""
        ...

    async def raw_rows(self) -> int:
        """Rows of tasks, sealed or not, and of all that hangs on them, over all tables; 0 where nothing is left."""
        ...


Start = Callable[[Path], Awaitable[StoreHarness]]


def _start(name: str, function: str = "start") -> Start:
    """Imported only where it is used: each needs a library and a server of its own."""

    async def start(directory: Path) -> StoreHarness:
        module = importlib.import_module(f"tests.store.{name}_harness")
        harness: StoreHarness = await getattr(module, function)(directory)
        return harness

    return start


STORES: dict[str, Start] = {"sqlite": _start("sqlite"), "postgres": _start("postgres"), "mongodb": _start("mongo")}

# The same stores behind a proxy that cuts connections; SQLite has none.
BEHIND_PROXY: dict[str, Start] = {
    "postgres": _start("postgres", "start_behind_proxy"),
    "mongodb": _start("mongo", "start_behind_proxy"),
}


def statuses(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {row["device_id"]: row["command_status"] for row in rows}
