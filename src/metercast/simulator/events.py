"""What a simulated meter writes into its event logs: when, and a code (catalogue 1.7)."""

from collections import deque
from typing import Final, NamedTuple

STANDARD_LOG: Final = 0
DISCONNECTOR_LOG: Final = 2
POWER_UP: Final = 2
CLOCK_ADJUSTED: Final = 4
REMOTE_DISCONNECTION: Final = 62
REMOTE_CONNECTION: Final = 63
ENTRIES: Final = 500  # a log keeps its newest


class LoggedEvent(NamedTuple):
    timestamp: float  # seconds since 1970 UTC, by the meter's own clock
    code: int


class EventLogs:
    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs: dict[int, deque[LoggedEvent]] = {}

    def note(self, log: int, event: LoggedEvent) -> None:
        self._logs.setdefault(log, deque(maxlen=ENTRIES)).append(event)

    def of(self, log: int) -> list[LoggedEvent]:
        """Oldest first."""
        return list(self._logs.get(log, ()))
