"""Health, readiness, metrics, and what every answer carries."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.web.conftest import Api

from metercast.store.errors import StoreUnavailable


async def test_ready_only_while_engine_and_store_work(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await api.client.get("/readyz")).json() == {"status": "ready"}

    async def fails() -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(api.parts.store, "ping", fails)
    response = await api.client.get("/readyz")
    assert (response.status_code, response.json()["detail"]) == (503, "not ready: the disk is gone")
    monkeypatch.undo()
    api.parts.draining = True
    assert "shutting down" in (await api.client.get("/readyz")).json()["detail"]
    assert (await api.client.get("/healthz")).json() == {"status": "ok"}


async def test_not_ready_before_the_engine_runs(idle_api: Api) -> None:
    response = await idle_api.client.get("/readyz")
    assert (response.status_code, response.json()["detail"]) == (503, "not ready: the engine does not run")


async def test_a_store_that_can_not_now_says_so(idle_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*arguments: object, **named: object) -> None:
        raise StoreUnavailable("the database can't be written now: database is locked")

    await idle_api.register("m-1")
    monkeypatch.setattr(idle_api.parts.store, "create_task", fails)
    response = await idle_api.submit("m-1")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "database is locked" in response.json()["detail"]
    monkeypatch.undo()
    assert (await idle_api.submit("m-1")).status_code == 201


async def test_metrics_count_what_happened(api: Api) -> None:
    await api.register("m-1", "bad-2")
    await api.ended((await api.submit("m-1", "bad-2")).json()["taskId"])
    await api.submit("m-1", scheduledAt="2031-01-01T00:00:00Z")
    await api.client.get("/tasks/one-that-is-not")
    await api.client.get("/zork/one")
    response = await api.client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples["metercast_device_results_total", (("error", ""), ("status", "SUCCESS"))] == 1
    assert samples["metercast_device_results_total", (("error", "ReadWriteDenied"), ("status", "FAILED"))] == 1
    assert samples["metercast_tasks_submitted_total", (("command_type", "READ_CLOCK"),)] == 2
    assert samples["metercast_open_tasks", (("status", "QUEUED"),)] == 1
    assert samples["metercast_open_tasks", (("status", "IN_PROGRESS"),)] == 0
    assert samples["metercast_attempts_total", ()] == 2
    assert samples["metercast_sessions_in_flight", ()] == 0
    for kind in ("downgraded", "replayed", "forged", "impostor"):
        assert samples["metercast_security_events_total", (("kind", kind),)] == 0
    requests = "metercast_http_requests_total"
    assert samples[requests, (("method", "POST"), ("route", "/tasks"), ("status", "201"))] == 2
    assert samples[requests, (("method", "GET"), ("route", "none"), ("status", "404"))] == 1
    assert "one-that-is-not" not in response.text
    assert samples["metercast_http_request_seconds_count", (("route", "/tasks"),)] == 2
    assert ("process_resident_memory_bytes", ()) in samples


@pytest.mark.parametrize("path", ["/healthz", "/tasks", "/zork", "/tasks/none", "/schema"])
async def test_every_answer_carries_the_headers_that_protect(idle_api: Api, path: str) -> None:
    response = await idle_api.client.get(path)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
