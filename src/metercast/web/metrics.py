"""What the process counts, for Prometheus."""

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from metercast.domain.words import SecurityEvent
from metercast.engine.service import Service
from metercast.engine.stats import EngineStats

MEDIA_TYPE = "text/plain; version=0.0.4"

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """A registry of its own, so that two apps in one process do not meet."""

    def __init__(self, stats: EngineStats, service: Service) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_EngineCollector(stats, service))
        self._tasks = Gauge("metercast_open_tasks", "Tasks that are not over.", ["status"], registry=self._registry)
        self._requests = Counter(
            "metercast_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "metercast_http_request_seconds",
            "From the request's head to the end of the answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request; `route` is the template, never the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    async def render(self) -> bytes:
        """The text format. Raises StoreUnavailable."""
        for status, count in (await self._service.open_tasks()).items():
            self._tasks.labels(status.value).set(count)
        return generate_latest(self._registry)


class _EngineCollector:
    """Reads the engine's counts when asked."""

    def __init__(self, stats: EngineStats, service: Service) -> None:
        self._stats = stats
        self._service = service

    def collect(self) -> Iterator[Metric]:
        stats = self._stats
        results = CounterMetricFamily(
            "metercast_device_results", "Device commands that changed state.", labels=["status", "error"]
        )
        for (status, error), count in stats.results.items():
            results.add_metric([status.value, "" if error is None else error.value], count)
        yield results
        alarms = CounterMetricFamily(
            "metercast_security_events", "Downgraded, replayed or forged answers, and impostors.", labels=["kind"]
        )
        for event in SecurityEvent:
            alarms.add_metric([event.value], stats.security_events[event])
        yield alarms
        submitted = CounterMetricFamily("metercast_tasks_submitted", "Tasks created.", labels=["command_type"])
        for command_type, count in self._service.submitted.items():
            submitted.add_metric([command_type], count)
        yield submitted
        yield GaugeMetricFamily("metercast_sessions_in_flight", "Sessions with meters.", stats.sessions_in_flight)
        yield CounterMetricFamily("metercast_attempts", "Sessions begun.", stats.sessions_begun)
        yield GaugeMetricFamily("metercast_buckets_leased", "Buckets that the worker holds.", stats.buckets_leased)
        yield CounterMetricFamily(
            "metercast_notifications",
            "What meters sent without being asked, in sessions that ended.",
            stats.notifications,
        )
        yield CounterMetricFamily("metercast_late_results", "Ends of sessions decided before.", stats.late_results)
        yield CounterMetricFamily("metercast_leases_lost", "Leases that ran out under the worker.", stats.leases_lost)
        yield CounterMetricFamily("metercast_scheduler_passes", "Looks for what is due.", stats.scheduler_passes)
        yield CounterMetricFamily("metercast_follow_ups", "Tasks made to follow up others.", stats.follow_ups)
        yield CounterMetricFamily("metercast_tasks_retired", "Ended tasks deleted by age.", stats.tasks_retired)
        yield CounterMetricFamily("metercast_rows_swept", "Rows of deleted tasks cleared away.", stats.rows_swept)
