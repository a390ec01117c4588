"""Someone between client and meter, on the wrapper: keeps what both say, and may say something else for the meter."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

Says = Callable[[int, bytes], bytes]
"""From the number of the answer in its connection, from 0, and the meter's APDU to the one that the client gets."""


def honestly(number: int, apdu: bytes) -> bytes:
    return apdu


class Tap:
    """`asked` and `answered` are the APDUs as they came from client and meter, of all `connections`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.says: Says = honestly
        self.asked: list[bytes] = []
        self.answered: list[bytes] = []
        self.connections = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        meter_reader, meter_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._forward(reader, meter_writer), self._back(meter_reader, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head, apdu = await _frame(reader)
                self.asked.append(apdu)
                writer.write(head + apdu)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while True:
                head, apdu = await _frame(reader)
                self.answered.append(apdu)
                said = self.says(number, apdu)
                number += 1
                writer.write(head[:6] + len(said).to_bytes(2, "big") + said)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(8)
    return head, await reader.readexactly(int.from_bytes(head[6:], "big"))


@asynccontextmanager
async def tapped(**options: Any) -> AsyncIterator[tuple[dict[str, Any], Tap, Simulator]]:
    """One simulated meter behind a tap: its record, which leads to the tap."""
    async with Simulator(Population.build(1, **options)) as simulator:
        (document,) = simulator.device_records()
        tap = Tap(document["connection"]["port"])
        server = await asyncio.start_server(tap.connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        yield document | {"connection": document["connection"] | {"port": port}}, tap, simulator
        server.close()
