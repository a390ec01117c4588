"""One store is all of its nouns. The conformance suite in tests/store holds every implementation to this.

What the whole contract promises: a call either happened wholly or not at all, and is durable when it returns. A call
that can't be carried out now (database locked, disk full, connection lost) raises StoreUnavailable and may be tried
again. Where the answer was lost on its way, it may have been carried out: every call can be repeated as it was, and
guards make the repetition harmless. The store has the only clock: leases and delays are given as durations.
"""

from typing import Protocol

from metercast.store.attempts import AttemptStore
from metercast.store.copying import CopyStore
from metercast.store.counters import CounterStore
from metercast.store.devices import DeviceStore
from metercast.store.keys import KeyStore
from metercast.store.tasks import TaskStore


class Store(TaskStore, AttemptStore, DeviceStore, CounterStore, KeyStore, CopyStore, Protocol):
    """Everything the engine and the API need to remember."""

    async def ping(self) -> None:
        """Raises StoreUnavailable where the store does not answer."""
        ...

    async def close(self) -> None:
        """Writes what was accepted and lets go of every file and connection."""
        ...
