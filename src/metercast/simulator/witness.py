"""Where the events of all meters go: the log file, memory, and whoever waits for one."""

import asyncio
from collections.abc import Callable

from metercast.simulator.log import AnyEvent, SessionLog

Predicate = Callable[[AnyEvent], bool]


class Witness:
    """`events` holds every event where `keep` is set, else nothing."""

    def __init__(self, log: SessionLog | None = None, *, keep: bool = False) -> None:
        self._log = log
        self._keep = keep
        self._waiting: list[tuple[Predicate, asyncio.Future[AnyEvent]]] = []
        self.events: list[AnyEvent] = []

    @property
    def watching(self) -> bool:
        """Whether anybody wants events; where not, none need be made."""
        return self._log is not None or self._keep or bool(self._waiting)

    def write(self, event: AnyEvent) -> None:
        if self._log is not None:
            self._log.write(event)
        if self._keep:
            self.events.append(event)
        if self._waiting:
            for predicate, future in list(self._waiting):
                if not future.done() and predicate(event):
                    future.set_result(event)

    async def wait_for(self, predicate: Predicate) -> AnyEvent:
        """The next event that fits, or the first that did where events are kept."""
        for event in self.events:
            if predicate(event):
                return event
        future: asyncio.Future[AnyEvent] = asyncio.get_running_loop().create_future()
        entry = (predicate, future)
        self._waiting.append(entry)
        try:
            return await future
        finally:
            self._waiting.remove(entry)
