"""The whole API over a real store and a real engine; only the driver speaks to no meter."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from metercast.app import Metercast, http_server, listen
from metercast.commands.clock.clock_object import Reading
from metercast.config import Config
from metercast.dlms.datetimes import CosemDateTime
from metercast.domain.meter import Meter
from metercast.domain.outcome import Outcome, Phase
from metercast.domain.words import ErrorWord
from metercast.driver.contract import Command
from metercast.driver.noop import NoopDriver
from metercast.store.keys import Role

URL = "http://127.0.0.1:8080"

OutcomeOf = Callable[[Command, Meter], Outcome]


def outcome_of(command: Command, meter: Meter) -> Outcome:
    """A meter whose id begins with "bad" fails for good; any other succeeds, and its clock is right."""
    if meter.device_id.startswith("bad"):
        return Outcome.failed(ErrorWord.READ_WRITE_DENIED, "the meter says no", Phase.READING)
    now = datetime.now(UTC).replace(microsecond=0)
    return Outcome.done(Reading(CosemDateTime.from_datetime(now), now, now, 0.004).to_json())


@dataclass
class Api:
    """A client, and what stands behind it."""

    client: httpx.AsyncClient
    parts: Metercast
    config: Config
    data_dir: Path

    @property
    def slowness(self) -> int:
        """What the large numbers of tests are divided by, for the server of one store is slower than a product's."""
        return 5 if (self.config.database_url or "").startswith("mongodb") else 1

    async def register(self, *device_ids: str) -> None:
        lines = [f'{{"deviceId": "{each}", "connection": {{"host": "10.0.0.1"}}}}\n' for each in device_ids]
        response = await self.client.post(
            "/devices/import", content="".join(lines), headers={"Content-Type": "application/x-ndjson"}
        )
        assert response.status_code == 200, response.text

    async def submit(self, *device_ids: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"commandId": "c-1", "commandType": "READ_CLOCK", "devices": list(device_ids)} | fields
        return await self.client.post("/tasks", json=body, headers=headers)

    async def ended(self, task_id: str) -> dict[str, Any]:
        """The task once it is over."""
        while True:
            task: dict[str, Any] = (await self.client.get(f"/tasks/{task_id}?devices=false")).json()
            if task["outcome"] is not None:
                return task
            await asyncio.sleep(0.01)

    async def key(self, role: Role) -> dict[str, str]:
        """The headers of a new key."""
        response = await self.client.post("/keys", json={"name": f"a {role.value}", "role": role.value})
        assert response.status_code == 201, response.text
        return {"Authorization": f"Bearer {response.json()['key']}"}

    async def stored(self) -> list[Any]:
        """All that a refused request must leave as it was."""
        dump = [
            self.parts.store.list_registered(None, 1000, None),
            self.parts.service.open_tasks(),
            self.parts.store.list_keys(),
        ]
        return [*await asyncio.gather(*dump), (await self.client.get("/tasks")).json()]


@contextlib.asynccontextmanager
async def open_parts(config: Config, *, start: bool = True) -> AsyncIterator[Metercast]:
    parts = await Metercast.open(config, lambda config, store: NoopDriver(outcome_of))
    try:
        if start:
            await parts.engine.start()
        yield parts
        await parts.engine.drain(0.5)
    finally:
        await parts.store.close()


@contextlib.asynccontextmanager
async def open_api(config: Config, *, start: bool = True) -> AsyncIterator[Api]:
    """Over the ASGI app itself."""
    async with open_parts(config, start=start) as parts:
        transport = httpx.ASGITransport(app=parts.web())
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            yield Api(client, parts, config, config.data_dir)


@contextlib.asynccontextmanager
async def open_socket_api(config: Config) -> AsyncIterator[Api]:
    """Over a real server on a real socket."""
    async with open_parts(config) as parts:
        with listen(replace(config, port=0)) as (listener, url):
            server = http_server(config, parts.web())
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            async with httpx.AsyncClient(base_url=url) as client:
                yield Api(client, parts, config, config.data_dir)
            server.should_exit = True
            await serving


KINDS = ("sqlite", "postgres", "mongodb")

# What the others look at lies above the store.
ON_EVERY_STORE = {
    "test_api_docs",
    "test_device_import",
    "test_image_calls",
    "test_keys_and_roles",
    "test_operations_calls",
    "test_retention_calls",
    "test_task_calls",
    "test_task_streaming",
    "test_task_streams",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What asks the store for something is asked of each kind of store."""
    if "config" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in ON_EVERY_STORE:
        metafunc.parametrize("database_url", KINDS, indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A new database; None: a file in the data directory."""
    kind = getattr(request, "param", KINDS[0])
    if kind == "postgres":
        from tests.store.postgres_harness import drop_database, new_database

        url = asyncio.run(new_database())
        yield url
        asyncio.run(drop_database(url))
    elif kind == "mongodb":
        from tests.servers.mongodb import shared

        yield shared().new_database()
    else:
        yield None


@pytest.fixture
def config(tmp_path: Path, database_url: str | None) -> Config:
    return Config(data_dir=tmp_path, database_url=database_url, database_connections=3)


@pytest.fixture
async def api(config: Config) -> AsyncIterator[Api]:
    async with open_api(config) as opened:
        yield opened


@pytest.fixture
async def socket_api(config: Config) -> AsyncIterator[Api]:
    async with open_socket_api(config) as opened:
        yield opened


@pytest.fixture
async def idle_api(config: Config) -> AsyncIterator[Api]:
    """Its engine does not run, so what is submitted stays as it is."""
    async with open_api(config, start=False) as opened:
        yield opened
