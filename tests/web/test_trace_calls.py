"""Traces over the API: who may, what for, and for how long."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.driver.support import ScriptedCheckpoint, command
from tests.web.conftest import Api, open_api

from metercast.config import Config
from metercast.domain.meter import Connection, Meter, MeterRecord
from metercast.domain.problem import Conflict
from metercast.engine.apikeys import Caller
from metercast.engine.bucket import ActiveBucket
from metercast.engine.session import Session
from metercast.engine.traces import MAX_TRACES, TraceRequest, Traces
from metercast.store.keys import Role
from metercast.trace.directory import TraceDirectory

METER = Meter("m-1", MeterRecord(connection=Connection(host="10.0.0.1")), {})
OTHER = Meter("m-2", MeterRecord(connection=Connection(host="10.0.0.1")), {})


@pytest.fixture
async def traced(config: Config) -> AsyncIterator[Api]:
    async with open_api(replace(config, trace_dir=config.data_dir / "traces")) as opened:
        yield opened


async def test_start_list_and_stop(traced: Api) -> None:
    asked = {"devices": ["m-2", "m-1"], "minutes": 5, "maxSessions": 2}
    answer = await traced.client.post("/traces", json=asked)
    assert answer.status_code == 201
    trace = answer.json()
    assert (trace["devices"], trace["taskId"], trace["sessionsLeft"], trace["files"]) == (["m-1", "m-2"], None, 2, [])
    assert datetime.fromisoformat(trace["endsAt"]) - datetime.fromisoformat(trace["startedAt"]) == timedelta(minutes=5)
    assert (await traced.client.get("/traces")).json() == {"traces": [trace]}
    assert (await traced.client.delete(f"/traces/{trace['traceId']}")).json() == trace
    assert (await traced.client.delete(f"/traces/{trace['traceId']}")).status_code == 404
    assert (await traced.client.get("/traces")).json() == {"traces": []}


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({}, "one of devices, taskId"),
        ({"devices": ["a"], "taskId": "t"}, "one of devices, taskId"),
        ({"devices": []}, "devices"),
        ({"devices": ["a"] * 101}, "devices"),
        ({"devices": [""]}, "devices[0]"),
        ({"devices": ["a"], "minutes": 0}, "minutes"),
        ({"devices": ["a"], "maxSessions": 10_001}, "maxSessions"),
        ({"devices": ["a"], "other": 1}, "other"),
        ({"taskId": 5}, "taskId"),
    ],
)
async def test_odd_wishes(traced: Api, asked: dict[str, Any], part: str) -> None:
    answer = await traced.client.post("/traces", json=asked)
    assert answer.status_code == 422
    assert part in answer.json()["detail"]


async def test_without_a_directory_nothing_is_traced(api: Api) -> None:
    answer = await api.client.post("/traces", json={"devices": ["m-1"]})
    assert answer.status_code == 409
    assert "METERCAST_TRACE_DIR" in answer.json()["detail"]
    assert (await api.client.get("/traces")).json() == {"traces": []}


async def test_it_takes_an_operator(traced: Api) -> None:
    viewer, operator = await traced.key(Role.VIEWER), await traced.key(Role.OPERATOR)
    for headers, status in ((viewer, 403), (operator, 201)):
        answer = await traced.client.post("/traces", json={"taskId": "t"}, headers=headers)
        assert answer.status_code == status
    assert (await traced.client.get("/traces", headers=viewer)).status_code == 403


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


CALLER = cast(Caller, SimpleNamespace(key_id="key-1", name="someone"))


def checkpoint_of(task_id: str) -> Session:
    """As the engine makes it; only its task is looked at."""
    bucket = cast(ActiveBucket, SimpleNamespace(task=SimpleNamespace(task_id=task_id)))
    return Session(bucket, cast(Any, None), cast(Any, None), Clock(), cast(Any, None))


def begins(traces: Traces, meter: Meter = METER, task_id: str | None = None) -> bool:
    checkpoint = ScriptedCheckpoint() if task_id is None else checkpoint_of(task_id)
    trace = traces.begin(command("READ_CLOCK"), meter, checkpoint)
    if trace is not None:
        trace.end("over")
    return trace is not None


def test_time_sessions_and_devices_bound_a_trace(config: Config) -> None:
    clock = Clock()
    traces = Traces(TraceDirectory(config.data_dir / "t", 1 << 20), clock)
    assert not begins(traces)
    traces.start(TraceRequest(devices=["m-1"], minutes=10, max_sessions=2), CALLER)
    assert [begins(traces), begins(traces, OTHER), begins(traces), begins(traces)] == [True, False, True, False]
    assert len(traces.all()[0].files) == 2
    traces.start(TraceRequest(devices=["m-1"], minutes=10), CALLER)
    clock.now += timedelta(minutes=10)
    assert not begins(traces)


def test_a_task_by_its_id_or_by_the_key_it_will_come_with(config: Config) -> None:
    traces = Traces(TraceDirectory(config.data_dir / "t", 1 << 20), Clock())
    traces.start(TraceRequest(task_id="task-1"), CALLER)
    view = traces.start(TraceRequest(idempotency_key="k"), CALLER)
    assert view.task_id is not None
    assert view.task_id.startswith("task-")
    assert begins(traces, task_id="task-1")
    assert begins(traces, task_id=view.task_id)
    assert not begins(traces, task_id="task-2")
    assert not begins(traces)


def test_the_number_of_traces_is_bounded(config: Config) -> None:
    clock = Clock()
    traces = Traces(TraceDirectory(config.data_dir / "t", 1 << 20), clock)
    for _ in range(MAX_TRACES):
        traces.start(TraceRequest(task_id="t", minutes=1), CALLER)
    with pytest.raises(Conflict):
        traces.start(TraceRequest(task_id="t"), CALLER)
    clock.now += timedelta(minutes=1)
    traces.start(TraceRequest(task_id="t"), CALLER)
    assert len(traces.all()) == 1
