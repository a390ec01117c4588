"""The bare client that the product is held against: asyncio Protocols, struct and AES-GCM, no store, no checks.

`python -m bench.bare_client DEVICES.ndjson FIRST_COUNTER SESSIONS` reads the clock of every meter over HLS-GMAC with
protection both, SESSIONS at a time, and prints one line of JSON: {"meters", "seconds", "cpuSeconds"}.
"""

import asyncio
import json
import os
import struct
import sys
import time
from hmac import compare_digest
from pathlib import Path
from typing import Any, cast

import uvloop
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

INITIATE = bytes.fromhex("01000000065F1F0400007E1DFFFF")
AARQ_HEAD = bytes.fromhex("A109060760857405080103A60A0408")
AARQ_MECHANISM = bytes.fromhex("8A0207808B0760857405080205AC128010")
PASS_3 = bytes.fromhex("C301C1000F0000280000FF01010911")
GET_CLOCK = bytes.fromhex("C001C200080000010000FF0200")
HEADER = struct.Struct(">HHHH")


class Session(asyncio.Protocol):
    """One meter from connect to close; the answers come in the order in which they are asked for."""

    def __init__(self, meter: dict[str, Any], counter: int, done: asyncio.Future[None]) -> None:
        management = meter["associations"]["management"]
        self.title = bytes.fromhex(management["clientSystemTitle"])
        self.gcm = AESGCM(bytes.fromhex(management["encryptionKey"]))
        self.ak = bytes.fromhex(management["authenticationKey"])
        self.client, self.server = management["clientSap"], meter["serverSap"]
        self.counter = counter
        self.challenge = os.urandom(16)
        self.done = done
        self.step = 0
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sealed = self.seal(0x21, INITIATE)
        body = AARQ_HEAD + self.title + AARQ_MECHANISM + self.challenge
        body += bytes((0xBE, len(sealed) + 2, 4, len(sealed))) + sealed
        self.send(bytes((0x60, len(body))) + body)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while len(self.received) >= 8:
            size = HEADER.unpack_from(self.received)[3] + 8
            if len(self.received) < size:
                return
            apdu, self.received = self.received[8:size], self.received[size:]
            self.answered(apdu)

    def answered(self, apdu: bytes) -> None:
        self.step += 1
        if self.step == 1:
            at = apdu.index(b"\xa4\x0a\x04\x08") + 4
            self.meter_title = apdu[at : at + 8]
            at += 25  # behind the title: requirements, mechanism; then AA, length, 80, length and the challenge
            challenge = apdu[at : at + apdu[at - 1]]
            self.unseal(apdu[at + len(challenge) + 4 :])
            octets = self.next_counter()
            proof = b"\x10" + octets + self.gmac(self.title, octets, challenge)
            self.send(self.seal(0xCB, PASS_3 + proof))
        elif self.step == 2:
            proof = self.unseal(apdu)[-17:]
            assert compare_digest(self.gmac(self.meter_title, proof[1:5], self.challenge), proof[5:])
            self.send(self.seal(0xC8, GET_CLOCK))
        elif self.step == 3:
            assert len(self.unseal(apdu)[-12:]) == 12
            sealed = self.seal(0x21, INITIATE)
            self.send(bytes((0x62, len(sealed) + 7, 0x80, 1, 0, 0xBE, len(sealed) + 2, 4, len(sealed))) + sealed)
        else:
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"lost at step {self.step}"))

    def send(self, apdu: bytes) -> None:
        self.transport.write(HEADER.pack(1, self.client, self.server, len(apdu)) + apdu)

    def next_counter(self) -> bytes:
        self.counter += 1
        return self.counter.to_bytes(4, "big")

    def seal(self, tag: int, apdu: bytes) -> bytes:
        octets = self.next_counter()
        body = b"\x30" + octets + self.gcm.encrypt(self.title + octets, apdu, b"\x30" + self.ak)[:-4]
        return bytes((tag, len(body))) + body

    def unseal(self, apdu: bytes) -> bytes:
        nonce = self.meter_title + apdu[3:7]
        plain = self.gcm.encrypt(nonce, apdu[7:-12], None)[:-16]
        assert compare_digest(self.gcm.encrypt(nonce, plain, b"\x30" + self.ak)[-16:-4], apdu[-12:])
        return plain

    def gmac(self, title: bytes, octets: bytes, challenge: bytes) -> bytes:
        return self.gcm.encrypt(title + octets, b"", b"\x10" + self.ak + challenge)[:12]


async def read_all(meters: list[dict[str, Any]], first_counter: int, sessions: int) -> None:
    loop = asyncio.get_running_loop()
    waiting = iter(meters)

    async def one_after_another() -> None:
        for meter in waiting:
            done = loop.create_future()
            connection = meter["connection"]
            session = Session(meter, first_counter, done)
            await loop.create_connection(lambda session=session: session, connection["host"], connection["port"])  # type: ignore[misc]
            await done

    await asyncio.gather(*(one_after_another() for _ in range(sessions)))


def main(path: Path, first_counter: int, sessions: int) -> None:
    meters = [json.loads(line) for line in path.read_text().splitlines()]
    cpu, wall = time.process_time(), time.perf_counter()
    uvloop.run(read_all(meters, first_counter, sessions))
    spent = {"meters": len(meters), "seconds": time.perf_counter() - wall, "cpuSeconds": time.process_time() - cpu}
    print(json.dumps(spent))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
