"""Servers that are no good meters: what a probe meets in the field."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from metercast.probe.probing import Probe
from metercast.probe.report import Report
from metercast.probe.settings import Credentials, ProbeSettings

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Counted:
    """How many connections came, and how many were ever open at once."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.received = b""


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[tuple[int, Counted]]:
    counted = Counted()

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted.connections += 1
        counted.open += 1
        counted.most_open = max(counted.most_open, counted.open)
        try:
            await serve(reader, writer)
        finally:
            counted.open -= 1
            writer.close()

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], counted


async def answering(port: int, credentials: Credentials | None = None, now: Any = None, **settings: Any) -> Report:
    """A quick probe of a port here."""
    from datetime import UTC, datetime

    from metercast.driver.transport import TcpConnector

    given = {"timeout": 0.3, "link_timeout": 0.1, "delay": 0.0, **settings}
    probe_settings = ProbeSettings(host="127.0.0.1", port=port, **given)
    return await Probe(probe_settings, TcpConnector(), now or (lambda: datetime.now(UTC)), credentials).run()
