"""What the engine counts while it runs; the web layer publishes it as metrics."""

from collections import Counter
from collections.abc import Callable

from metercast.domain.states import DeviceStatus
from metercast.domain.words import ErrorWord, SecurityEvent


class EngineStats:
    """Since the start of this process. Gauges are read from the worker when asked, `notified` from the driver."""

    def __init__(self, notified: Callable[[], int] = lambda: 0) -> None:
        self._notified = notified
        self.sessions_begun = 0
        self.sessions_in_flight = 0
        self.buckets_leased = 0
        self.late_results = 0
        self.leases_lost = 0
        self.results: Counter[tuple[DeviceStatus, ErrorWord | None]] = Counter()
        self.security_events: Counter[SecurityEvent] = Counter()
        self.scheduler_passes = 0
        self.follow_ups = 0
        self.tasks_retired = 0
        self.rows_swept = 0

    @property
    def notifications(self) -> int:
        """What meters sent without being asked."""
        return self._notified()

    def alarm(self, event: SecurityEvent) -> None:
        """A session met it."""
        self.security_events[event] += 1
