"""The bare client with a firmware image: initiate and blocks, one after another, every answer deciphered.

`python -m bench.bare_firmware DEVICES.ndjson OCTETS BLOCK` sends an image of so many octets to all meters at once and
prints one line of JSON: {"meters", "seconds", "cpuSeconds"}. It reads no status, keeps nothing, and verifies nothing.
"""

import asyncio
import json
import struct
import sys
import time
from hmac import compare_digest
from pathlib import Path
from typing import Any

import uvloop

from bench.bare_client import INITIATE, Session

IMAGE_TRANSFER = bytes.fromhex("C301C1001200002C0000FF")
INITIATE_IMAGE = struct.Struct(">BBBBB4sBI")  # with parameters: a structure of octet-string and u32
BLOCK_HEAD = struct.Struct(">BBBBIBBH")
SUCCESS = bytes.fromhex("C701C10000")


class Upload(Session):
    """From connect to the last block's answer."""

    def __init__(self, meter: dict[str, Any], image: bytes, block: int, done: asyncio.Future[None]) -> None:
        super().__init__(meter, 1, done)
        self.image, self.block = image, block
        self.blocks = -(-len(image) // block)

    def answered(self, apdu: bytes) -> None:
        if self.step < 1:
            super().answered(apdu)
            return
        self.step += 1
        if self.step == 2:
            proof = self.unseal(apdu)[-17:]
            assert compare_digest(self.gmac(self.meter_title, proof[1:5], self.challenge), proof[5:])
            parameter = INITIATE_IMAGE.pack(1, 2, 2, 9, 4, b"bare", 6, len(self.image))
            self.send(self.seal(0xCB, IMAGE_TRANSFER + b"\x01" + parameter))
            return
        if self.step <= self.blocks + 3:
            assert self.unseal(apdu) == SUCCESS, self.step
        if self.step < self.blocks + 3:
            number = self.step - 3
            octets = self.image[number * self.block : (number + 1) * self.block]
            head = BLOCK_HEAD.pack(1, 2, 2, 6, number, 9, 0x82, len(octets))
            self.send(self.seal(0xCB, IMAGE_TRANSFER + b"\x02" + head + octets))
        elif self.step == self.blocks + 3:
            sealed = self.seal(0x21, INITIATE)
            self.send(bytes((0x62, len(sealed) + 7, 0x80, 1, 0, 0xBE, len(sealed) + 2, 4, len(sealed))) + sealed)
        else:
            self.transport.close()
            self.done.set_result(None)

    def seal(self, tag: int, apdu: bytes) -> bytes:
        if len(apdu) < 100:
            return super().seal(tag, apdu)
        octets = self.next_counter()
        body = b"\x30" + octets + self.gcm.encrypt(self.title + octets, apdu, b"\x30" + self.ak)[:-4]
        return struct.pack(">BBH", tag, 0x82, len(body)) + body


async def upload_all(meters: list[dict[str, Any]], image: bytes, block: int) -> None:
    loop = asyncio.get_running_loop()

    async def one(meter: dict[str, Any]) -> None:
        done = loop.create_future()
        connection = meter["connection"]
        await loop.create_connection(lambda: Upload(meter, image, block, done), connection["host"], connection["port"])
        await done

    await asyncio.gather(*(one(meter) for meter in meters))


def main(path: Path, size: int, block: int) -> None:
    meters = [json.loads(line) for line in path.read_text().splitlines()]
    cpu, wall = time.process_time(), time.perf_counter()
    uvloop.run(upload_all(meters, bytes(size), block))
    spent = {"meters": len(meters), "seconds": time.perf_counter() - wall, "cpuSeconds": time.process_time() - cpu}
    print(json.dumps(spent))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
