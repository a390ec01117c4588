"""The task document is streamed: in pieces, in order, and cut off where it can't go on."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.web.conftest import Api

from metercast.store.errors import StoreUnavailable

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


async def _large(api: Api, count: int) -> str:
    ids = [f"meter-{number:05}" for number in range(count)]
    task_id: str = (await api.submit(*ids, allowUnknown=True, scheduledAt=TOMORROW)).json()["taskId"]
    return task_id


async def _receive(api: Api, task_id: str, into: bytearray) -> None:
    async with api.client.stream("GET", f"/tasks/{task_id}") as response:
        async for piece in response.aiter_raw():
            into += piece


async def test_a_large_task_comes_in_pieces_and_whole(socket_api: Api) -> None:
    task_id = await _large(socket_api, 20_000)
    pieces = []
    async with socket_api.client.stream("GET", f"/tasks/{task_id}") as response:
        assert response.headers["content-type"] == "application/json"
        assert "content-length" not in response.headers
        async for piece in response.aiter_raw():
            pieces.append(piece)
    assert len(pieces) > 10
    document = httpx.Response(200, content=b"".join(pieces)).json()
    assert document["counts"]["total"] == len(document["devices"]) == 20_000
    assert [each["deviceId"] for each in document["devices"]] == [f"meter-{number:05}" for number in range(20_000)]


async def test_what_breaks_off_is_no_valid_answer(socket_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await _large(socket_api, 3_000)
    stream = socket_api.parts.store.stream_devices

    async def breaking(task_id: str) -> AsyncIterator[bytes]:
        async for piece in stream(task_id):
            yield piece[: len(piece) // 2]
            raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(socket_api.parts.store, "stream_devices", breaking)
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        await _receive(socket_api, task_id, received)
    assert b"meter-00000" in received
    assert not received.endswith(b"]}")
    monkeypatch.undo()
    assert len((await socket_api.client.get(f"/tasks/{task_id}")).json()["devices"]) == 3_000


async def test_a_client_that_goes_away_stops_the_reading(socket_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await _large(socket_api, 2_000)
    stopped = asyncio.Event()

    async def endless(task_id: str) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
                await asyncio.sleep(0)
        finally:
            stopped.set()

    monkeypatch.setattr(socket_api.parts.store, "stream_devices", endless)
    async with socket_api.client.stream("GET", f"/tasks/{task_id}") as response:
        async for _ in response.aiter_raw():
            break
    await asyncio.wait_for(stopped.wait(), 30)


async def test_without_devices_it_is_one_small_answer(socket_api: Api) -> None:
    task_id = await _large(socket_api, 1_000)
    response = await socket_api.client.get(f"/tasks/{task_id}?devices=false")
    assert int(response.headers["content-length"]) < 1_000
    assert "devices" not in response.json()


async def test_results_come_as_lines_while_the_task_runs(socket_api: Api) -> None:
    task_id = await _large(socket_api, 1_200)
    response = await socket_api.client.get(f"/tasks/{task_id}/results")
    assert response.headers["content-type"] == "application/x-ndjson"
    assert "content-length" not in response.headers
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [each["deviceId"] for each in lines] == [f"meter-{number:05}" for number in range(1_200)]
    assert {(each["commandStatus"], each["result"]) for each in lines} == {("PENDING", None)}
    assert (await socket_api.client.get("/tasks/none/results")).status_code == 404


async def test_results_that_break_off_are_no_valid_answer(socket_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole lines came, and yet the client learns that some are missing."""
    task_id = await _large(socket_api, 3_000)
    stream = socket_api.parts.store.stream_results

    async def breaking(task_id: str) -> AsyncIterator[bytes]:
        async for piece in stream(task_id):
            yield piece
            raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(socket_api.parts.store, "stream_results", breaking)
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        await _receive(socket_api, f"{task_id}/results", received)
    assert received.endswith(b"}\n")
    assert 0 < received.count(b"\n") < 3_000
