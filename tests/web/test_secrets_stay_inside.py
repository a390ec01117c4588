"""Meters' secrets and API keys: in no response, no log line, no file."""

import asyncio
import base64
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from tests.web.conftest import Api

from metercast import logs

PASSWORD = "correct-horse-battery"
ENCRYPTION_KEY = "0123456789ABCDEFFEDCBA9876543210"
AUTHENTICATION_KEY = "00112233445566778899AABBCCDDEEFF"
SIGNING_KEY = "0123456789ABCDEF0FEDCBA987654321" * 2
SECRETS = [PASSWORD, ENCRYPTION_KEY, AUTHENTICATION_KEY, SIGNING_KEY]

RECORD = {
    "connection": {"host": "10.0.0.1"},
    "associations": {
        "management": {
            "clientSap": 1,
            "authentication": "hls-gmac",
            "protection": "both",
            "securitySuite": 1,
            "clientSystemTitle": "4D43530000000001",
            "password": PASSWORD,
            "encryptionKey": ENCRYPTION_KEY,
            "authenticationKey": AUTHENTICATION_KEY,
            "signingKey": SIGNING_KEY,
        }
    },
}


@pytest.fixture
def log_text() -> Iterator[io.StringIO]:
    """Everything that is logged, at the lowest level."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in ("uvicorn", "uvicorn.error", "asyncio")}
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
    for name, each in levels.items():
        logging.getLogger(name).setLevel(each)


def _files(directory: Path) -> list[tuple[Path, bytes]]:
    return [(path, path.read_bytes()) for path in directory.rglob("*")]


def _forms(secret: str) -> list[bytes]:
    forms = [secret.encode(), secret.lower().encode(), base64.b64encode(secret.encode())]
    if len(secret) in (32, 64):
        forms.append(bytes.fromhex(secret))
    return forms


async def test_secrets_are_nowhere(log_text: io.StringIO, socket_api: Api, tmp_path: Path) -> None:
    client = socket_api.client
    seen = ""
    responses = [
        await client.put("/devices/m-1", json=RECORD),
        await client.get("/devices/m-1"),
        await client.get("/devices"),
        await client.put("/devices/m-1", json={**RECORD, "zork": PASSWORD}),
        await client.put("/devices/m-1", json={**RECORD, "associations": RECORD["associations"]["management"]}),  # type: ignore[index]
        await client.put("/devices/m-2", json={**RECORD, "timeZone": 5}),
        await client.post(
            "/devices/import",
            content=f"deviceId,host,password,encryptionKey\nm-3,h,{PASSWORD},{ENCRYPTION_KEY}\nm-4,h,{PASSWORD}\n",
            headers={"Content-Type": "text/csv"},
        ),
        await client.post(
            "/devices/import",
            content=f"deviceId,host,password,encryptionKey\nm-3,h,{PASSWORD},{ENCRYPTION_KEY}\n",
            headers={"Content-Type": "text/csv"},
        ),
        await client.post(
            "/devices/import?only=secrets",
            content=f'{{"deviceId": "m-3", "associations": {{"x": "{ENCRYPTION_KEY}"}}}}\n'
            f'{{"deviceId": "m-4", "associations": {{"management": "{PASSWORD}"}}}}\n'
            f'{{"deviceId": "m-9", "associations": {{"management": {{"masterKey": "{ENCRYPTION_KEY}"}}}}}}\n',
            headers={"Content-Type": "application/x-ndjson"},
        ),
        await client.post(
            "/devices/import?only=secrets",
            content=f"deviceId,password,encryptionKey\nm-3,{PASSWORD},{ENCRYPTION_KEY}\n",
            headers={"Content-Type": "text/csv"},
        ),
        await client.get("/tasks", headers={"Authorization": f"Bearer {PASSWORD}"}),
        await socket_api.submit("m-1", "m-3"),
    ]
    assert {response.status_code for response in responses} == {200, 201, 401, 422}
    task_id = responses[-1].json()["taskId"]
    await socket_api.ended(task_id)
    responses += [
        await client.get(f"/tasks/{task_id}"),
        await client.get(f"/tasks/{task_id}/devices/m-1"),
        await client.get("/metrics"),
        await client.get("/schema"),
    ]
    seen = "".join(response.text for response in responses) + log_text.getvalue()
    assert "device.put" in seen
    for secret in SECRETS:
        assert secret not in seen
        for path, content in _files(tmp_path):
            for form in _forms(secret):
                assert form not in content, path
    stored = await socket_api.parts.store.get_device("m-1")
    assert socket_api.parts.vault.open(stored).secrets["management"].encryption_key == ENCRYPTION_KEY


async def test_api_keys_are_nowhere(log_text: io.StringIO, socket_api: Api, tmp_path: Path) -> None:
    key = (await socket_api.client.post("/keys", json={"name": "n", "role": "admin"})).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    responses = [await socket_api.client.get(path, headers=headers) for path in ("/keys", "/tasks", "/metrics")]
    assert key not in "".join(response.text for response in responses) + log_text.getvalue()
    admin = (tmp_path / "admin.key").read_text().strip()
    assert admin not in log_text.getvalue()
    for path, content in _files(tmp_path):
        assert key.encode() not in content, path
        assert (admin.encode() in content) == (path.name == "admin.key"), path


async def test_a_fault_of_ours_tells_the_caller_nothing(
    log_text: io.StringIO, idle_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*arguments: object) -> None:
        raise RuntimeError("internals of the house")

    monkeypatch.setattr(idle_api.parts.service, "tasks", fails)
    response = await idle_api.client.get("/tasks")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["title"] == "Internal error"
    assert "internals" not in response.text
    assert "Traceback" not in response.text
    assert "internals of the house" in log_text.getvalue()


async def test_a_client_that_goes_away_is_no_fault_of_ours(log_text: io.StringIO, socket_api: Api) -> None:
    host, port = socket_api.client.base_url.host, socket_api.client.base_url.port
    _, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()
    while True:
        metrics = (await socket_api.client.get("/metrics")).text
        if 'route="/tasks"' in metrics:
            break
    assert "error" not in log_text.getvalue()


def test_what_is_named_like_a_secret_is_not_logged(log_text: io.StringIO) -> None:
    log = structlog.get_logger()
    log.info("event", password="p-1", deep={"encryptionKey": "p-2", "list": [{"api_key": "p-3"}]}, master_key="p-4")
    log.info("event", Authorization="Bearer p-5", token="p-6", key_id="shown", name="shown too")
    text = log_text.getvalue()
    assert "p-" not in text
    assert text.count("***") == 6
    assert "shown too" in text
