"""Ids of any printable characters in paths, over a real socket."""

import asyncio
from urllib.parse import quote

import pytest
from tests.web.conftest import Api

IDS = [
    "a/b",
    "a%2Fb",
    "..",
    ".",
    "../../etc/passwd",
    "ü 1",
    "日本-1",
    "a?b#c&d=e",
    "a;b,c",
    "100%",
    "%",
    "%%25",
    "import",
    "/",
    "//",
    "a//b",
    "/a/",
    "{id}",
    "a+b c",
    'quote"\\',
    "x" * 128,
    "ß" * 128,
    "𝔪-1",
]


async def _request(api: Api, method: str, target: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """By hand, so that no client makes the path any nicer."""
    host, port = api.client.base_url.host, api.client.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    head = b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % (method.encode(), target, len(body)) + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head_of_answer, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_of_answer.split()[1]), rest


@pytest.mark.parametrize("device_id", IDS, ids=lambda each: each[:20])
async def test_an_odd_id_in_every_path(socket_api: Api, device_id: str) -> None:
    segment = quote(device_id, safe="").encode()
    record = b'{"connection": {"host": "10.0.0.1"}}'
    assert (await _request(socket_api, "PUT", b"/devices/" + segment, record))[0] == 201
    status, body = await _request(socket_api, "GET", b"/devices/" + segment)
    assert (status, (await socket_api.client.get("/devices")).json()["devices"][0]["deviceId"]) == (200, device_id)
    task_id = (await socket_api.submit(device_id)).json()["taskId"]
    await socket_api.ended(task_id)
    status, body = await _request(socket_api, "GET", f"/tasks/{task_id}/devices/".encode() + segment)
    assert status == 200
    assert b'"commandStatus":"SUCCESS"' in body
    found = await socket_api.client.get("/tasks", params={"deviceId": device_id})
    assert [task["taskId"] for task in found.json()["tasks"]] == [task_id]
    assert (await _request(socket_api, "DELETE", b"/devices/" + segment))[0] == 204
    assert (await _request(socket_api, "GET", b"/devices/" + segment))[0] == 404


async def test_ids_that_look_alike_are_not_the_same(socket_api: Api) -> None:
    for device_id in ("a/b", "a%2Fb", "a%2fb", "A/B"):
        segment = quote(device_id, safe="").encode()
        assert (await _request(socket_api, "PUT", b"/devices/" + segment, b'{"connection":{"host":"h"}}'))[0] == 201
    listed = (await socket_api.client.get("/devices")).json()["devices"]
    assert [each["deviceId"] for each in listed] == ["A/B", "a%2Fb", "a%2fb", "a/b"]


async def test_paths_that_are_not_encoded(socket_api: Api) -> None:
    await socket_api.register("ü")
    assert (await _request(socket_api, "GET", "/devices/ü".encode()))[0] == 400  # no HTTP
    assert (await _request(socket_api, "GET", b"/devices/a/b"))[0] == 404
    assert (await _request(socket_api, "GET", b"/devices/%zz"))[0] == 404
    assert (await _request(socket_api, "GET", b"http://localhost/devices/%C3%BC"))[0] == 200
