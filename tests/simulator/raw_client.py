"""A client of a few lines that sends given APDUs over a real socket and knows nothing of the code under test."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

AARQ_NONE = bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFF")
GET_CLOCK = bytes.fromhex("C001C100080000010000FF0200")
RLRQ = bytes.fromhex("6203800100")
SECONDS = 10.0


class RawClient:
    """One connection; `sent` and `received` count octets, wrapper headers included."""

    def __init__(self, endpoint: tuple[str, int], client_sap: int = 1, server_sap: int = 1) -> None:
        self._endpoint = endpoint
        self.client_sap, self.server_sap = client_sap, server_sap
        self.sent = self.received = 0

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(*self._endpoint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    def close(self) -> None:
        self.writer.close()

    def send_octets(self, octets: bytes) -> None:
        self.sent += len(octets)
        self.writer.write(octets)

    def send(self, apdu: bytes) -> None:
        head = b"\0\1" + b"".join(n.to_bytes(2, "big") for n in (self.client_sap, self.server_sap, len(apdu)))
        self.send_octets(head + apdu)

    async def receive(self) -> bytes:
        """The next APDU; IncompleteReadError where the connection ends instead."""
        head = await asyncio.wait_for(self.reader.readexactly(8), SECONDS)
        assert head[:2] == b"\0\1"
        assert head[2:4] == self.server_sap.to_bytes(2, "big")
        assert head[4:6] == self.client_sap.to_bytes(2, "big")
        apdu = await asyncio.wait_for(self.reader.readexactly(int.from_bytes(head[6:8], "big")), SECONDS)
        self.received += 8 + len(apdu)
        return apdu

    async def ask(self, apdu: bytes) -> bytes:
        self.send(apdu)
        return await self.receive()

    async def rest(self) -> bytes:
        """All that still comes until the connection ends, however it does."""
        octets = b""
        with suppress(ConnectionError):
            while chunk := await asyncio.wait_for(self.reader.read(65536), SECONDS):
                octets += chunk
        return octets
