"""Whatever is sent, it ends in an answer of the documented kind: never in a 500."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.web.conftest import Api

from metercast.commands.registry import COMMANDS

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["2031-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "m-1", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)

TASK_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "commandId": st.just("c") | ANY,
    "commandType": st.sampled_from(sorted(COMMANDS)) | ANY,
    "devices": st.lists(st.sampled_from(["m-1", "m-2", "x"]), max_size=3) | ANY,
    "commandParams": st.dictionaries(
        st.sampled_from(
            ["obis", "items", "activation", "calendarName", "days", "weeks", "seasons", "which", "reason", "verify"]
        ),
        ANY,
        max_size=4,
    )
    | ANY,
    "scheduledAt": ANY,
    "expiresAt": ANY,
    "priority": st.integers(0, 9) | ANY,
    "requestedBy": ANY,
    "retry": st.dictionaries(st.sampled_from(["maxAttempts", "initialDelaySeconds"]), ANY, max_size=2) | ANY,
    "allowUnknown": st.booleans() | ANY,
}
ASSOCIATION_FIELDS = ("clientSap", "authentication", "clientSystemTitle", "password", "encryptionKey")
METER_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "connection": st.just({"host": "h"}) | st.dictionaries(st.sampled_from(["host", "port", "channel"]), ANY) | ANY,
    "serverSap": ANY,
    "timeZone": st.sampled_from(["UTC", "Europe", "/etc/passwd", "posix", "a\x00b"]) | ANY,
    "associations": st.dictionaries(
        st.text(max_size=5), st.dictionaries(st.sampled_from(ASSOCIATION_FIELDS), ANY, max_size=3) | ANY, max_size=3
    )
    | ANY,
    "identity": ANY,
}

relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _bodies(fields: dict[str, st.SearchStrategy[Any]], required: set[str]) -> st.SearchStrategy[Any]:
    needed = {name: strategy for name, strategy in fields.items() if name in required}
    others = {name: strategy for name, strategy in fields.items() if name not in required}
    return st.fixed_dictionaries(needed, optional=others) | ANY


async def _answered(api: Api, method: str, path: str, content: bytes, media_type: str = "application/json") -> None:
    response = await api.client.request(method, path, content=content, headers={"Content-Type": media_type})
    assert response.status_code in (200, 201, 400, 404, 409, 422), (content, response.text)
    if response.status_code >= 400:
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["status"] == response.status_code
        assert 0 < len(problem["detail"]) < 2000
        for error in problem.get("errors", []):
            assert len(error.get("received", "")) <= 100


@relaxed
@given(body=_bodies(TASK_FIELDS, {"commandId", "commandType", "devices"}))
async def test_any_task(idle_api: Api, body: Any) -> None:
    await _answered(idle_api, "POST", "/tasks", json.dumps(body).encode())


@relaxed
@given(body=_bodies(METER_FIELDS, {"connection"}))
async def test_any_meter(idle_api: Api, body: Any) -> None:
    await _answered(idle_api, "PUT", "/devices/m", json.dumps(body).encode())


@relaxed
@given(
    lines=st.lists(_bodies(METER_FIELDS | {"deviceId": st.text(max_size=4)}, {"deviceId", "connection"}), max_size=4)
)
async def test_any_ndjson(idle_api: Api, lines: list[Any]) -> None:
    content = "\n".join(json.dumps(line) for line in lines).encode()
    await _answered(idle_api, "POST", "/devices/import", content, "application/x-ndjson")


DEVICE_LINES = st.lists(
    ANY | st.text(max_size=4) | st.fixed_dictionaries({"deviceId": st.sampled_from(["m-1", "x", "ü"]) | ANY}),
    max_size=6,
)


@relaxed
@given(
    header=_bodies({name: each for name, each in TASK_FIELDS.items() if name != "devices"}, {"commandId"}),
    lines=DEVICE_LINES,
)
async def test_any_task_as_ndjson(idle_api: Api, header: Any, lines: list[Any]) -> None:
    content = "\n".join(json.dumps(line) for line in [header, *lines]).encode()
    await _answered(idle_api, "POST", "/tasks", content, "application/x-ndjson")


@relaxed
@given(
    columns=st.lists(st.sampled_from(["commandId", "commandType", "retry", "priority", "allowUnknown"]), max_size=5),
    values=st.text(st.sampled_from('1,"\x00ü;{}tru'), max_size=30),
    text=st.text(st.sampled_from('a1,"\n\r\x00ü;'), max_size=60),
)
async def test_any_task_as_csv(idle_api: Api, columns: list[str], values: str, text: str) -> None:
    content = f"{','.join(columns)}\n{values}\ndeviceId\n{text}".encode()
    await _answered(idle_api, "POST", "/tasks", content, "text/csv")
    await _answered(
        idle_api, "POST", "/tasks", f"commandId,commandType\nc,READ_CLOCK\ndeviceId\n{text}".encode(), "text/csv"
    )


@relaxed
@given(content=st.binary(max_size=200))
@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
async def test_any_octets_as_lines(idle_api: Api, content: bytes, media_type: str) -> None:
    await _answered(idle_api, "POST", "/tasks", content, media_type)


@relaxed
@given(
    header=st.lists(st.sampled_from(["deviceId", "host", "port", "password", "clientSap", "zork"]), max_size=5),
    text=st.text(st.sampled_from('a1,"\n\r\x00ü;'), max_size=60),
)
async def test_any_csv(idle_api: Api, header: list[str], text: str) -> None:
    content = (",".join(["deviceId", "host", *header]) + "\n" + text).encode()
    await _answered(idle_api, "POST", "/devices/import", content, "text/csv")


@relaxed
@given(content=st.binary(max_size=200))
@pytest.mark.parametrize(("method", "path"), [("POST", "/tasks"), ("PUT", "/devices/m"), ("POST", "/keys")])
async def test_any_octets(idle_api: Api, method: str, path: str, content: bytes) -> None:
    await _answered(idle_api, method, path, content)


@relaxed
@given(
    path=st.sampled_from(["/tasks", "/devices", "/tasks/{task}/devices", "/tasks/{task}"]),
    pairs=st.lists(
        st.tuples(
            st.sampled_from(
                ["limit", "cursor", "status", "from", "deviceId", "prefix", "error", "devices", "updatedSince"]
            ),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
            | st.sampled_from(["WyIiLFtdXQ", "null", "1", "true", "PENDING", "2031-01-01T00:00:00Z"]),
        ),
        max_size=3,
    ),
)
async def test_any_query(idle_api: Api, path: str, pairs: list[tuple[str, str]]) -> None:
    tasks = (await idle_api.client.get("/tasks")).json()["tasks"]
    if not tasks:
        await idle_api.submit("m-1", allowUnknown=True)
        tasks = (await idle_api.client.get("/tasks")).json()["tasks"]
    response = await idle_api.client.get(path.format(task=tasks[0]["taskId"]), params=urlencode(pairs))
    assert response.status_code in (200, 422), response.text
