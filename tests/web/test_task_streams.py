"""A task that comes as lines: all of it or none, whatever the client does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.system.processes import ServerProcess
from tests.web.conftest import Api, open_api

from metercast.config import Config
from metercast.engine.import_formats import MAX_LINE
from metercast.store.errors import StoreUnavailable
from metercast.store.keys import Role
from metercast.store.tasks import CREATE_CHUNK
from metercast.web import uploads
from metercast.web.context import MAX_SPOOLS

CSV = "text/csv"
NDJSON = "application/x-ndjson"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()
HEADER: dict[str, Any] = {"commandId": "c-1", "commandType": "READ_CLOCK"}
CSV_HEADER = "commandId,commandType,allowUnknown\nc-1,READ_CLOCK,true\ndeviceId\n"


def ndjson(*devices: Any, **fields: Any) -> str:
    return "".join(json.dumps(each) + "\n" for each in (HEADER | fields, *devices))


async def post(api: Api, content: Any, media_type: str = NDJSON, **headers: str) -> httpx.Response:
    return await api.client.post("/tasks", content=content, headers={"Content-Type": media_type, **headers})


async def ids_of(api: Api, response: httpx.Response) -> list[str]:
    assert response.status_code == 201, response.text
    document = (await api.client.get(response.headers["location"])).json()
    assert document["counts"]["total"] == len(document["devices"])
    return [each["deviceId"] for each in document["devices"]]


def spooled(api: Api) -> list[str]:
    folder = api.data_dir / "spool"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def errors_of(response: httpx.Response) -> list[tuple[int, str, str | None]]:
    assert response.status_code == 422, response.text
    assert response.json()["title"] == "Invalid lines", response.text
    return [(each["line"], each["path"], each.get("received")) for each in response.json()["errors"]]


async def test_ndjson(idle_api: Api) -> None:
    await idle_api.register("a", "b/c", "ü")
    response = await post(idle_api, ndjson({"deviceId": "b/c"}, "a", {"deviceId": "ü"}, scheduledAt=TOMORROW))
    assert await ids_of(idle_api, response) == ["b/c", "a", "ü"]
    task = response.json()
    assert response.headers["location"] == f"/tasks/{task['taskId']}"
    assert (task["commandId"], task["status"], task["requestedBy"]) == ("c-1", "QUEUED", "local")
    assert spooled(idle_api) == []


async def test_csv_with_every_column(idle_api: Api) -> None:
    text = (
        "\ufeffcommandType,commandId,commandParams,scheduledAt,expiresAt,priority,requestedBy,retry,allowUnknown\r\n"
        f'READ_REGISTERS,"c,1","{{""items"": [{{""obis"": ""1.0.1.8.0.255""}}]}}",{TOMORROW},,7,billing,'
        '"{""maxAttempts"": 5}",TRUE\r\n'
        "\r\n"
        'deviceId,,\r\nm-1\r\n"m,2",,\r\n\r\n"m""3"\r\n m-4 \r\nm-5'
    )
    response = await post(idle_api, text, CSV)
    assert await ids_of(idle_api, response) == ["m-1", "m,2", 'm"3', " m-4 ", "m-5"]
    task = response.json()
    assert (task["commandId"], task["priority"], task["requestedBy"]) == ("c,1", 7, "billing")
    assert (task["retry"]["maxAttempts"], task["commandParams"]["items"][0]["obis"]) == (5, "1.0.1.8.0.255")


async def test_ndjson_with_bom_crlf_and_blank_lines(idle_api: Api) -> None:
    header = json.dumps(HEADER | {"allowUnknown": True})
    text = f'\n\ufeff{header}\r\n\r\n"a"\r\n  \r\n{{"deviceId":"b"}}'
    assert (await post(idle_api, text)).status_code == 400  # the mark stands at the beginning, or nowhere
    assert await ids_of(idle_api, await post(idle_api, text[1:])) == ["a", "b"]


async def test_every_kind_of_bad_line_of_ndjson(idle_api: Api) -> None:
    await idle_api.register("a")
    before = await idle_api.stored()
    lines = [
        json.dumps(HEADER),
        '"a"',
        "{",
        "5",
        '{"deviceId": 5}',
        '{"deviceId": "b", "zork": 1}',
        "{}",
        '""',
        json.dumps("x" * 129),
        '{"deviceId": "a\\u0007b"}',
        '"a"',
        '"c" "d"',
        '"e\\ud800"',
        "[" * 5000,
    ]
    response = await post(idle_api, "\n".join(lines).encode() + b'\n"f\xff"\n"g"\n\n{"deviceId": "g"}')
    assert errors_of(response) == [
        (3, "line", None),
        (4, "line", "5"),
        (5, "deviceId", "5"),
        (6, "zork", None),
        (7, "deviceId", None),
        (8, "deviceId", ""),
        (9, "deviceId", "x" * 99 + "…"),
        (10, "deviceId", "a\u0007b"),
        (11, "deviceId", "a"),
        (12, "line", None),
        (13, "line", None),
        (14, "line", None),
        (15, "line", None),
        (18, "deviceId", "g"),
    ]
    problem = response.json()
    assert problem["errorCount"] == 14
    assert problem["detail"].startswith("nothing was created: line 3: line: no JSON")
    assert problem["errors"][8]["reason"] == "stands in line 2 already"
    assert problem["errors"][13]["reason"] == "stands in line 16 already"
    assert await idle_api.stored() == before
    assert spooled(idle_api) == []


async def test_every_kind_of_bad_line_of_csv(idle_api: Api) -> None:
    text = CSV_HEADER + 'a\na,b\n"a\n' + "x" * 129 + "\n\x07\na\n,,\n,a\n"
    response = await post(idle_api, text.encode() + b"b\xff\nb\n", CSV)
    assert errors_of(response) == [
        (5, "line", None),
        (6, "line", None),
        (7, "deviceId", "x" * 99 + "…"),
        (8, "deviceId", "\x07"),
        (9, "deviceId", "a"),
        (10, "deviceId", ""),
        (11, "line", None),
        (12, "line", None),
    ]


@pytest.mark.parametrize(
    ("media_type", "text", "status", "reason"),
    [
        (NDJSON, "", 422, "ends before the task's header"),
        (NDJSON, "\n\n", 422, "ends before the task's header"),
        (NDJSON, "{", 400, "line 1, the task's header"),
        (NDJSON, "[]\n", 422, "expected `object`"),
        (NDJSON, ndjson("a", priority=12), 422, "priority: expected `int` <= 9; received 12"),
        (NDJSON, ndjson("a", zork=1), 422, "zork: unknown field"),
        (NDJSON, ndjson("a", devices=["b"]), 422, "they stand one a line below it"),
        (NDJSON, ndjson("a", commandType="ZORK"), 422, "commandType: unknown"),
        (NDJSON, ndjson("a", expiresAt="2001-01-01T00:00:00Z"), 422, "expiresAt: not after the due time"),
        (NDJSON, ndjson("a", commandParams={"zork": 1}), 422, "commandParams.zork"),
        (NDJSON, '{"commandId": "c"}\n"a"\n', 422, "commandType: required, and missing"),
        (NDJSON, ndjson(), 422, "devices: none"),
        (NDJSON, " " * MAX_LINE + ndjson("a"), 422, f"line 1: longer than {MAX_LINE} octets"),
        (NDJSON, ndjson("a") + "x" * (MAX_LINE + 1), 422, f"line 3: longer than {MAX_LINE} octets"),
        (CSV, "", 422, "ends before the task's header"),
        (CSV, "commandId,commandType\nc,READ_CLOCK\n", 422, "ends before the task's header"),
        (CSV, "commandId,zork\n", 422, "no such column"),
        (CSV, "commandId;commandType\n", 422, "no such column"),
        (CSV, "commandId,commandId\n", 422, "the column stands twice"),
        (CSV, 'commandId,"commandType\n', 422, "line 1: quotes that do not match"),
        (CSV, b"commandId,\xff\n", 422, "line 1: not UTF-8"),
        (CSV, "commandId\nc,READ_CLOCK\n", 422, "2 values, and there are 1 columns"),
        (CSV, "commandId,commandType\nc\n", 422, "commandType: required, and missing"),
        (CSV, "commandId,commandType,priority\nc,READ_CLOCK,high\n", 422, "priority: expected `int`"),
        (CSV, "commandId,commandType,allowUnknown\nc,READ_CLOCK,yes\n", 422, "allowUnknown: expected `bool`"),
        (CSV, "commandId,commandType,retry\nc,READ_CLOCK,{\n", 422, "retry: the cell is no JSON"),
        (CSV, 'commandId,commandType,retry\nc,READ_CLOCK,"{""x"": 1}"\n', 422, "retry.x: unknown field"),
        (CSV, "commandId,commandType\nc,READ_CLOCK\nmeter-1\n", 422, "the column deviceId is expected, alone"),
        (CSV, CSV_HEADER, 422, "devices: none"),
    ],
)
async def test_what_will_not_do_as_a_whole(
    idle_api: Api, media_type: str, text: str | bytes, status: int, reason: str
) -> None:
    await idle_api.register("a")
    before = await idle_api.stored()
    response = await post(idle_api, text, media_type)
    assert (response.status_code, reason in response.json()["detail"]) == (status, True), response.text
    assert await idle_api.stored() == before
    assert spooled(idle_api) == []


async def test_a_line_without_end_is_not_waited_for(idle_api: Api) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield ndjson().encode()
        while sent < 100:
            sent += 1
            yield b"x" * 10_000

    assert (await post(idle_api, endless())).status_code == 422
    assert sent < 10


async def test_devices_that_are_not_registered(idle_api: Api) -> None:
    await idle_api.register("a")
    response = await post(idle_api, ndjson("a", "x", "", *[f"y-{n}" for n in range(20)]).replace('""', ""))
    assert errors_of(response) == [(3, "deviceId", "x"), *[(5 + n, "deviceId", f"y-{n}") for n in range(9)]]
    assert response.json()["errorCount"] == 21
    assert "not registered" in response.json()["detail"]
    assert (await idle_api.client.get("/tasks")).json()["tasks"] == []
    allowed = await post(idle_api, ndjson("a", "x", allowUnknown=True))
    assert await ids_of(idle_api, allowed) == ["a", "x"]


async def test_the_report_is_bounded_and_so_is_the_reading(idle_api: Api) -> None:
    sent = 0

    async def bad() -> AsyncIterator[bytes]:
        nonlocal sent
        yield ndjson().encode()
        for _ in range(100):
            sent += 1
            yield b"zork\n" * 1000

    problem = (await post(idle_api, bad())).json()
    assert (len(problem["errors"]), problem["errorCount"]) == (100, 10_000)
    assert sent < 15
    repeated = (await post(idle_api, ndjson(*["a"] * 5000))).json()
    assert (len(repeated["errors"]), repeated["errorCount"]) == (100, 4999)


async def test_the_limits_of_number_and_size(config: Config) -> None:
    async with open_api(replace(config, max_devices_per_task=3, stream_limit=1000, body_limit=100), start=False) as api:
        assert (await post(api, ndjson("a", "b", "c", allowUnknown=True))).status_code == 201
        over = await post(api, ndjson("a", "b", "c", "d", allowUnknown=True))
        assert (over.status_code, "more than 3" in over.json()["detail"]) == (422, True)

        async def long() -> AsyncIterator[bytes]:
            yield ndjson().encode()
            yield b" " * 1000

        for content in (ndjson() + " " * 1000, long()):
            large = await post(api, content)
            assert (large.status_code, large.json()["title"]) == (413, "Content too large")
            assert "METERCAST_STREAM_LIMIT" in large.json()["detail"]
        assert spooled(api) == []


async def test_the_roles_and_other_media_types(idle_api: Api) -> None:
    await idle_api.register("a")
    assert (await post(idle_api, ndjson("a"), **await idle_api.key(Role.VIEWER))).status_code == 403
    assert (await post(idle_api, ndjson("a"), **await idle_api.key(Role.OPERATOR))).status_code == 201
    other = await post(idle_api, ndjson("a"), "text/plain")
    assert (other.status_code, "application/x-ndjson, text/csv" in other.json()["detail"]) == (415, True)


FORMS: list[tuple[str, str]] = [
    ("application/json", json.dumps(HEADER | {"allowUnknown": True, "devices": ["m-1", "ü"]})),
    (NDJSON, ndjson("m-1", {"deviceId": "ü"}, allowUnknown=True)),
    (CSV, CSV_HEADER + "m-1\nü\n"),
]


@pytest.mark.parametrize("first", range(3))
async def test_the_three_forms_are_one_request(idle_api: Api, first: int) -> None:
    key = {"Idempotency-Key": "once"}
    made = await post(idle_api, FORMS[first][1], FORMS[first][0], **key)
    assert (made.status_code, "idempotent-replayed" in made.headers) == (201, False)
    for media_type, content in FORMS:
        again = await post(idle_api, content, media_type, **key)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
        assert again.json()["taskId"] == made.json()["taskId"]
        assert again.headers["location"] == made.headers["location"]
    for content in (ndjson("m-1", allowUnknown=True), ndjson("ü", "m-1", allowUnknown=True), ndjson("m-1", "ü")):
        other = await post(idle_api, content, **key)
        assert (other.status_code, "once" in other.json()["detail"]) == (409, True)
    assert len((await idle_api.client.get("/tasks")).json()["tasks"]) == 1


async def test_a_repeated_request_is_answered_though_it_would_no_longer_validate(
    idle_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    text = ndjson("m-1", expiresAt=soon, allowUnknown=True)
    made = await post(idle_api, text, **{"Idempotency-Key": "k"})
    assert made.status_code == 201
    monkeypatch.setattr(idle_api.parts.service, "_clock", lambda: datetime.now(UTC) + timedelta(hours=2))
    again = await post(idle_api, text, **{"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["taskId"]) == (201, made.json()["taskId"])
    assert (await post(idle_api, text)).status_code == 422


async def test_a_repeated_request_with_a_bad_line_says_so(idle_api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    assert (await post(idle_api, ndjson("m-1", allowUnknown=True), **key)).status_code == 201
    assert errors_of(await post(idle_api, ndjson("m-1", 5, allowUnknown=True), **key)) == [(3, "line", "5")]


async def test_a_hundred_thousand_lines_in_their_order(idle_api: Api) -> None:
    count = 100_000 // idle_api.slowness
    ids = [f"m-{number * 7919 % count:06}" for number in range(count)]
    assert len(ids) >= CREATE_CHUNK

    async def pieces() -> AsyncIterator[bytes]:
        text = ndjson(*ids, allowUnknown=True, scheduledAt=TOMORROW).encode()
        for start in range(0, len(text), 50_001):
            yield text[start : start + 50_001]

    response = await post(idle_api, pieces(), **{"Idempotency-Key": "large"})
    assert response.json()["counts"]["total"] == count
    assert await ids_of(idle_api, response) == ids
    again = await post(idle_api, pieces(), **{"Idempotency-Key": "large"})
    assert again.headers["idempotent-replayed"] == "true"
    assert spooled(idle_api) == []


async def test_a_duplicate_far_away_names_the_earlier_line(idle_api: Api) -> None:
    ids = [f"m-{number}" for number in range(30_000)]
    response = await post(idle_api, ndjson(*ids, "m-17", allowUnknown=True))
    assert errors_of(response) == [(30_002, "deviceId", "m-17")]
    assert response.json()["errors"][0]["reason"] == "stands in line 19 already"


async def test_a_task_that_is_being_created_by_another_request(idle_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("task t is being created by another request")

    monkeypatch.setattr(idle_api.parts.store, "create_task", busy)
    for response in (await post(idle_api, ndjson("a")), await idle_api.submit("a")):
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "being created" in response.json()["detail"]
    assert spooled(idle_api) == []


class Raw:
    """A client that sends what it wants, when it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def post(cls, api: Api, *headers: str) -> "Raw":
        url = api.client.base_url
        raw = cls(*await asyncio.open_connection(url.host, url.port))
        head = ["POST /tasks HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {NDJSON}", *headers]
        await raw.send("\r\n".join([*head, "", ""]))
        return raw

    async def send(self, text: str) -> None:
        self._writer.write(text.encode())
        await self._writer.drain()

    async def chunk(self, text: str) -> None:
        await self.send(f"{len(text.encode()):x}\r\n{text}\r\n")

    async def answer(self) -> tuple[int, str]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split()[1]), (await self._reader.readexactly(length)).decode()

    def go_away(self) -> None:
        self._writer.transport.abort()


CHUNKED = "Transfer-Encoding: chunked"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def test_a_client_that_goes_away_leaves_nothing(socket_api: Api) -> None:
    await socket_api.register("a", "b")
    for header in (CHUNKED, "Content-Length: 100000"):
        client = await Raw.post(socket_api, header)
        send = client.chunk if header == CHUNKED else client.send
        await send(ndjson("a"))
        await asyncio.sleep(0.05)
        await send('"b"\n')
        client.go_away()
    # Their places are free again: as many as there are can be had at once.
    clients = [await Raw.post(socket_api, CHUNKED) for _ in range(MAX_SPOOLS)]
    for client in clients:
        await client.chunk(ndjson("a"))
        await client.chunk("")
    assert [(await client.answer())[0] for client in clients] == [201] * MAX_SPOOLS
    assert len((await socket_api.client.get("/tasks")).json()["tasks"]) == MAX_SPOOLS
    assert spooled(socket_api) == []


async def test_only_so_many_are_received_at_a_time(socket_api: Api) -> None:
    await socket_api.register("a")
    slow = [await Raw.post(socket_api, CHUNKED) for _ in range(MAX_SPOOLS)]
    for client in slow:
        await client.chunk(ndjson("a")[:10])

    async def is_full() -> bool:
        return (await post(socket_api, ndjson("a"))).status_code == 503

    await until(is_full)
    refused = await post(socket_api, ndjson("a"))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    # One in JSON is none of these, and is served meanwhile.
    assert (await asyncio.wait_for(socket_api.submit("a"), 30)).status_code == 201
    await slow[0].chunk(ndjson("a")[10:])
    await slow[0].chunk("")
    assert (await slow[0].answer())[0] == 201
    assert (await post(socket_api, ndjson("a"))).status_code == 201
    for client in slow[1:]:
        client.go_away()


async def test_a_client_that_trickles_holds_nobody_up(socket_api: Api) -> None:
    ids = [f"m-{number}" for number in range(50)]
    text = ndjson(*ids, allowUnknown=True, scheduledAt=TOMORROW)
    client = await Raw.post(socket_api, CHUNKED)
    for start in range(0, len(text), 20):
        await client.chunk(text[start : start + 20])
        await asyncio.sleep(0)
        if start % 400 == 0:
            other = await asyncio.wait_for(socket_api.submit("x", allowUnknown=True), 30)
            assert (await socket_api.ended(other.json()["taskId"]))["counts"]["failed"] == 1
    await client.chunk("")
    status, body = await client.answer()
    assert (status, json.loads(body)["counts"]["total"]) == (201, 50)


async def test_a_client_that_stops_is_not_waited_for(socket_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.2)
    before = await socket_api.stored()
    # One announces more than it sends, the other never says that it is done.
    for header in ("Content-Length: 5000", CHUNKED):
        client = await Raw.post(socket_api, header)
        send = client.chunk if header == CHUNKED else client.send
        await send(ndjson("a", "b"))
        status, body = await asyncio.wait_for(client.answer(), 30)
        assert (status, json.loads(body)["type"]) == (408, "urn:metercast:problem:request-timeout")
    monkeypatch.setattr(uploads, "TOTAL_SECONDS", 0.2)
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 60.0)
    client = await Raw.post(socket_api, CHUNKED)
    assert (await asyncio.wait_for(client.answer(), 30))[0] == 408
    assert await socket_api.stored() == before
    assert spooled(socket_api) == []


async def test_a_server_that_is_killed_in_between_leaves_nothing_visible(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        await _kill_in_between(server)


async def _kill_in_between(server: ServerProcess) -> None:
    server.start()
    spool = server.data_dir / "spool"
    ids = [f"m-{number}" for number in range(60_000)]
    started = asyncio.Event()
    killed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield ndjson(*ids, allowUnknown=True).encode()
        started.set()
        await killed.wait()

    async with httpx.AsyncClient(base_url=server.url) as client:
        sending = asyncio.create_task(client.post("/tasks", content=body(), headers={"Content-Type": NDJSON}))
        await asyncio.wait_for(started.wait(), 30)

        async def is_spooled() -> bool:
            return spool.exists()

        await until(is_spooled)
        await asyncio.to_thread(server.kill)
        killed.set()
        with pytest.raises(httpx.TransportError):
            await sending
    # What a kill at the worst moment could leave of the spool is swept as well.
    (spool / "tmpleft").write_bytes(b"x")
    server.start()
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/tasks")).json()["tasks"] == []
        assert list(spool.iterdir()) == []
        response = await client.post(
            "/tasks", content=ndjson(*ids, allowUnknown=True), headers={"Content-Type": NDJSON}
        )
        assert response.json()["counts"]["total"] == 60_000
