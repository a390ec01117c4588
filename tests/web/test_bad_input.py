"""What will not do gets an answer that names the field and what was received, and changes nothing."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.web.conftest import Api, open_api, open_socket_api

from metercast.config import Config

TASK: dict[str, Any] = {"commandId": "c", "commandType": "READ_CLOCK", "devices": ["m-1"]}

CALENDAR: dict[str, Any] = {
    "calendarName": "CAL",
    "activation": {"mode": "immediate"},
    "seasons": [{"name": "S1", "start": {"month": 1, "day": 1, "time": "00:00:00"}, "week": "W1"}],
    "weeks": [{"name": "W1", "days": [1, 1, 1, 1, 1, 1, 1]}],
    "days": [
        {
            "id": 1,
            "schedule": [
                {"start": "00:00:00", "script": "0.0.10.0.100.255", "selector": 1},
                {"start": "07:00:00", "script": "0.0.10.0.100.255", "selector": 2},
            ],
        }
    ],
}


def _calendar(change: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(CALENDAR))
    change(copy)
    return {**TASK, "commandType": "SET_TOU", "commandParams": copy}


def _missing_day(calendar: Any) -> None:
    calendar["weeks"][0]["days"][3] = 9


def _unsorted_times(calendar: Any) -> None:
    calendar["days"][0]["schedule"].reverse()


def _activation_without_zone(calendar: Any) -> None:
    calendar["activation"] = {"mode": "at", "at": "2031-01-01T00:00:00"}


# body, the path that is named, what of the value received is repeated
REFUSED: list[tuple[Any, str, str | None]] = [
    ([], "body", "[]"),
    ({}, "commandId", None),
    ({**TASK, "commandId": 5}, "commandId", "5"),
    ({**TASK, "commandId": ""}, "commandId", ""),
    ({**TASK, "commandId": "a\nb"}, "commandId", "a\nb"),
    ({**TASK, "commandType": "SET_FIRE"}, "commandType", "SET_FIRE"),
    ({**TASK, "commandType": "x" * 200}, "commandType", "x" * 99 + "…"),
    ({**TASK, "zork": 1}, "zork", None),
    ({**TASK, "devices": []}, "devices", "[]"),
    ({**TASK, "devices": "m-1"}, "devices", "m-1"),
    ({**TASK, "devices": ["m-1", ""]}, "devices[1]", ""),
    ({**TASK, "devices": ["m-1", 7]}, "devices[1]", "7"),
    ({**TASK, "devices": ["m-1", "x" * 129]}, "devices[1]", "x" * 99 + "…"),
    ({**TASK, "devices": ["m-1", "a\x00b"]}, "devices[1]", "a\x00b"),
    ({**TASK, "devices": ["m-1", "m-2", "m-1"]}, "devices[2]", "m-1"),
    ({**TASK, "devices": ["m-1", "nobody"]}, "devices", "nobody"),
    ({**TASK, "scheduledAt": "2031-01-01T00:00:00"}, "scheduledAt", "2031-01-01T00:00:00"),
    ({**TASK, "scheduledAt": "tomorrow"}, "scheduledAt", "tomorrow"),
    ({**TASK, "scheduledAt": 1900000000}, "scheduledAt", "1900000000"),
    ({**TASK, "scheduledAt": "0001-01-01T00:00:00+12:00"}, "scheduledAt", "0001-01-01T00:00:00+12:00"),
    ({**TASK, "scheduledAt": "9999-12-31T23:59:59Z"}, "scheduledAt", "9999-12-31T23:59:59Z"),
    ({**TASK, "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "2020-01-01T00:00:00Z"),
    (
        {**TASK, "scheduledAt": "2031-01-01T00:00:00Z", "expiresAt": "2031-01-01T00:00:00Z"},
        "expiresAt",
        "2031-01-01T00:00:00Z",
    ),
    ({**TASK, "expiresAt": "9999-12-31T23:59:59-12:00"}, "expiresAt", "9999-12-31T23:59:59-12:00"),
    ({**TASK, "priority": 10}, "priority", "10"),
    ({**TASK, "priority": 4.0}, "priority", "4.0"),
    ({**TASK, "priority": True}, "priority", "true"),
    ({**TASK, "requestedBy": ""}, "requestedBy", ""),
    ({**TASK, "allowUnknown": "yes"}, "allowUnknown", "yes"),
    ({**TASK, "retry": {"maxAttempts": 0}}, "retry.maxAttempts", "0"),
    ({**TASK, "retry": {"attempts": 3}}, "retry.attempts", None),
    ({**TASK, "commandParams": [1]}, "commandParams", "[1]"),
    ({**TASK, "commandParams": {"obis": "1.2.3"}}, "commandParams.obis", "1.2.3"),
    ({**TASK, "commandParams": {"zork": 10**30}}, "commandParams", None),
    ({**TASK, "commandType": "READ_REGISTERS"}, "commandParams.items", "None"),
    ({**TASK, "commandType": "READ_REGISTERS", "commandParams": {"items": []}}, "commandParams.items", "[]"),
    (_calendar(_missing_day), "commandParams.weeks[0].days[3]", "9"),
    (_calendar(_unsorted_times), "commandParams.days[0].schedule", None),
    (_calendar(_activation_without_zone), "commandParams.activation.at", "2031-01-01T00:00:00"),
]


@pytest.mark.parametrize(("body", "path", "received"), REFUSED, ids=lambda each: str(each)[:40])
async def test_a_task_that_does_not_validate(idle_api: Api, body: Any, path: str, received: str | None) -> None:
    await idle_api.register("m-1", "m-2")
    before = await idle_api.stored()
    response = await idle_api.client.post("/tasks", json=body)
    problem = response.json()
    assert response.status_code == 422, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["title"] == "Invalid field"
    assert problem["status"] == 422
    (error,) = problem["errors"]
    assert error["path"].startswith(path), error
    assert problem["detail"].startswith(f"{error['path']}: {error['reason']}")
    if received is not None:
        assert error["received"] == received
    assert len(problem["detail"]) < 1000
    assert await idle_api.stored() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"{'commandId': 1}",
        b'{"commandId": 5, "devices": [',
        b'{"commandId": NaN}',
        b'\xff\xfe{"a": 1}',
        b'{"commandId": "\xff"}',
        b'{"commandId": "\\ud800"}',
        b'{"commandParams": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"commandId": "c"} trailing',
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_what_is_no_json(idle_api: Api, body: bytes) -> None:
    before = await idle_api.stored()
    response = await idle_api.client.post("/tasks", content=body)
    assert response.status_code == 400, response.text
    assert response.json()["title"] == "Malformed JSON"
    assert await idle_api.stored() == before


async def test_duplicates_are_named_with_their_places(idle_api: Api) -> None:
    ids = ["a", "b", "a", "c", "b", "a", "d", "d"]
    problem = (await idle_api.submit(*ids)).json()
    assert problem["errors"] == [
        {
            "path": "devices[2]",
            "reason": "duplicate: devices[2] = devices[0], devices[4] = devices[1], devices[5] = devices[0] and 1 more",
            "received": "a",
        }
    ]


async def test_unknown_devices_are_counted_and_the_first_named(idle_api: Api) -> None:
    await idle_api.register("m-1")
    problem = (await idle_api.submit("m-1", *(f"x-{number}" for number in range(20)))).json()
    assert "20 not registered: 'x-0', 'x-1', 'x-2', 'x-3', 'x-4' and 15 more" in problem["detail"]
    assert "allowUnknown" in problem["detail"]


async def test_caps_on_devices(config: Config) -> None:
    limited = replace(config, max_devices_per_task=3, max_devices_per_disconnect=2)
    async with open_api(limited, start=False) as api:
        await api.register("a", "b", "c", "d")
        assert (await api.submit("a", "b", "c")).status_code == 201
        over = await api.submit("a", "b", "c", "d")
        assert over.json()["errors"] == [
            {"path": "devices", "reason": "a READ_CLOCK task takes at most 3", "received": "4 devices"}
        ]
        assert (await api.submit("a", "b", commandType="DISCONNECT")).status_code == 201
        over = await api.submit("a", "b", "c", commandType="DISCONNECT")
        assert (over.status_code, over.json()["errors"][0]["reason"]) == (422, "a DISCONNECT task takes at most 2")
        assert (await api.submit("a", "b", "c", commandType="RECONNECT")).status_code == 201


@pytest.mark.parametrize(
    ("path", "named", "received"),
    [
        ("/tasks?limit=0", "limit", "0"),
        ("/tasks?limit=1001", "limit", "1001"),
        ("/tasks?limit=many", "limit", "many"),
        ("/tasks?limit=", "limit", ""),
        ("/tasks?status=DONE", "status", "DONE"),
        ("/tasks?status=null", "status", "null"),
        ("/tasks?from=2031-01-01T00:00:00", "from", "2031-01-01T00:00:00"),
        ("/tasks?to=yesterday", "to", "yesterday"),
        ("/tasks?to=0001-01-01T00:00:00%2B12:00", "to", "0001-01-01T00:00:00+12:00"),
        ("/tasks?commandId=", "commandId", ""),
        ("/tasks?zork=1", "zork", None),
        ("/tasks?limit=1&limit=2", "limit", "2"),
        ("/tasks?commandId=%ff", "query", None),
        ("/tasks?cursor=zork", "cursor", "zork"),
        ("/tasks?cursor=", "cursor", ""),
        ("/tasks?cursor=WyJhIixbMV1d", "cursor", "WyJhIixbMV1d"),
        ("/devices?prefix=" + "x" * 129, "prefix", "x" * 99 + "…"),
        ("/devices?cursor=%C3%BC", "cursor", "ü"),
        ("/tasks/{task}?devices=perhaps", "devices", "perhaps"),
        ("/tasks/{task}/devices?error=Oops", "error", "Oops"),
        ("/tasks/{task}/devices?updatedSince=now", "updatedSince", "now"),
    ],
)
async def test_a_query_that_does_not_validate(idle_api: Api, path: str, named: str, received: str | None) -> None:
    await idle_api.register("m-1")
    task_id = (await idle_api.submit("m-1")).json()["taskId"]
    response = await idle_api.client.get(path.format(task=task_id))
    problem = response.json()
    assert response.status_code == 422, problem
    assert problem["errors"][0]["path"] == named
    if received is not None:
        assert problem["errors"][0]["received"] == received
    assert "got `str`" not in problem["detail"]


async def test_cursors_of_another_query(idle_api: Api) -> None:
    await idle_api.register("m-1", "m-2")
    tasks = [(await idle_api.submit("m-1", "m-2", commandId=name)).json()["taskId"] for name in ("a", "a", "b")]

    async def cursor(path: str) -> str:
        found = (await idle_api.client.get(path)).json()["nextCursor"]
        assert isinstance(found, str)
        return found

    of_tasks = await cursor("/tasks?commandId=a&limit=1")
    of_devices = await cursor(f"/tasks/{tasks[0]}/devices?limit=1")
    of_meters = await cursor("/devices?limit=1")
    for path, misused in (
        ("/tasks?commandId=b", of_tasks),
        ("/tasks", of_tasks),
        ("/tasks", of_devices),
        (f"/tasks/{tasks[1]}/devices", of_devices),
        (f"/tasks/{tasks[0]}/devices?status=PENDING", of_devices),
        ("/devices", of_tasks),
        ("/devices?prefix=m", of_meters),
    ):
        separator = "&" if "?" in path else "?"
        response = await idle_api.client.get(f"{path}{separator}cursor={misused}")
        assert response.status_code == 422, path
        assert "another query" in response.json()["detail"] or "not a cursor" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tasks/none"),
        ("GET", "/tasks/none/devices"),
        ("GET", "/tasks/none/errors"),
        ("GET", "/tasks/none/devices/m-1"),
        ("GET", "/tasks/{task}/devices/other"),
        ("POST", "/tasks/none/cancel"),
        ("POST", "/tasks/none/pause"),
        ("POST", "/tasks/none/resume"),
        ("POST", "/tasks/none/retry-failed"),
        ("GET", "/devices/none"),
        ("DELETE", "/devices/none"),
        ("DELETE", "/keys/none"),
        ("GET", "/"),
        ("GET", "/zork"),
        ("GET", "/tasks//devices"),
        ("GET", "/devices//m-1"),
        ("GET", "/devices/%ff"),
        ("GET", "/%2e%2e/etc/passwd"),
    ],
)
async def test_what_does_not_exist(idle_api: Api, method: str, path: str) -> None:
    await idle_api.register("m-1")
    task_id = (await idle_api.submit("m-1")).json()["taskId"]
    response = await idle_api.client.request(method, path.format(task=task_id))
    assert response.status_code == 404, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"] == "Not found"


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/tasks"), ("PUT", "/tasks/x"), ("POST", "/healthz")])
async def test_a_method_that_is_not_there(idle_api: Api, method: str, path: str) -> None:
    response = await idle_api.client.request(method, path)
    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert "GET" in response.headers["allow"]


async def test_a_body_of_another_type(idle_api: Api) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = await idle_api.client.post("/tasks", content=b"{}", headers={"Content-Type": media_type})
        assert response.status_code == 415
        assert response.headers["content-type"] == "application/problem+json"
    accepted = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await idle_api.client.post("/tasks", content=b"{}", headers=accepted)).status_code == 422


async def test_actions_take_no_body(idle_api: Api) -> None:
    await idle_api.register("m-1")
    task_id = (await idle_api.submit("m-1")).json()["taskId"]
    response = await idle_api.client.post(f"/tasks/{task_id}/cancel", content=b'{"why": 1}')
    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "why")
    assert (await idle_api.client.get(f"/tasks/{task_id}")).json()["status"] != "CANCELLED"
    assert (await idle_api.client.post(f"/tasks/{task_id}/cancel", content=b"{}")).status_code == 200


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b" " * 1000


async def test_bodies_over_the_limit_with_and_without_a_length(config: Config) -> None:
    limited = replace(config, body_limit=10_000)
    async with open_socket_api(limited) as api:
        before = await api.stored()
        for content in (b" " * 20_000, _chunks(20_000)):
            for path, media_type in (("/tasks", "application/json"), ("/devices/import", "text/csv")):
                response = await _post(api.client, path, content, media_type)
                assert response.status_code == 413, response.text
                assert response.headers["content-type"] == "application/problem+json"
                assert "10000 octets" in response.json()["detail"]
                if not isinstance(content, bytes):
                    content = _chunks(20_000)
        assert await api.stored() == before
        assert (await api.client.get("/healthz")).status_code == 200


async def _post(client: httpx.AsyncClient, path: str, content: Any, media_type: str) -> httpx.Response:
    return await client.post(path, content=content, headers={"Content-Type": media_type})
