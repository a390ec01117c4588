"""The raw side of a store's benchmark: the database's own client on the tables that the migrations make.

It checks nothing, locks no meter and counts nothing: what it does is the least that moves the same rows. Parameters and
texts are made before the clock starts. Every call is timed by itself and returns seconds.
"""

from collections.abc import Sequence
from typing import Protocol

BATCH = 1000


class Raw(Protocol):
    """One connection. `how` says in a few words what the raw side of each figure is."""

    how_created: str
    how_moved: str
    how_moved_one_by_one: str
    how_streamed: str

    async def register(self, names: Sequence[str], document: bytes, sealed: bytes | None) -> None:
        """Puts the meters into the registry, each on a channel of its own; not timed."""
        ...

    async def create(self, task_id: str, names: Sequence[str]) -> float:
        """One transaction with the task, its devices in bulk and its buckets."""
        ...

    async def move(self, task_id: str) -> float:
        """PENDING -> SENT -> SUCCESS for every device of the task, a transaction for BATCH devices and each step."""
        ...

    async def move_one_by_one(self, task_id: str) -> float:
        """The same, a transaction for each device and each step."""
        ...

    async def stream(self, task_id: str) -> tuple[float, int]:
        """Reads the JSON text of every device of the task; also the length of the text."""
        ...

    async def settle(self) -> None:
        """What the database puts off is done now, and not in the next one's time."""
        ...

    async def close(self) -> None: ...
