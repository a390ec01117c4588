"""Whatever octets come back, at whatever point: a probe ends with a report, within its patience."""

import asyncio
import random
from collections.abc import Callable

import msgspec
import pytest
from tests.probe.servers import answering, serving

from metercast.dlms.hdlc import FrameKind, HdlcFrame, decode_frame
from metercast.dlms.wrapper import encode_wrapper

AARE = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"
ANSWERS = [
    AARE,
    "6117a109060760857405080101a203020101a305a203020102",
    "6303800100",
    "c401c100090c07ea0911040c0f0600ff4c00",
    "c401c10103",
    "c401c1000101020412000f1101090600002800 00ff0202010100".replace(" ", ""),
    "c402c100000000010004 01020304".replace(" ", ""),
    "c401c10009ff",
    "c401c100060000ffff",
    "d80103",
    "0e010601",
    "",
    "e0800001000003c401c1",
    "0f00000000000000",
]

Reply = Callable[[random.Random, bytes], bytes]


def by_wrapper(chance: random.Random, request: bytes) -> bytes:
    apdu = bytearray(bytes.fromhex(chance.choice(ANSWERS)))
    if request[8:9] == b"\xc0" and len(apdu) > 2 and apdu[0] in (0xC4, 0xC5):
        apdu[2] = request[10]
    for _ in range(chance.choice([0, 0, 0, 1, 3])):
        if apdu:
            apdu[chance.randrange(len(apdu))] = chance.randrange(256)
    return encode_wrapper(chance.choice([1, 1, 1, 7]), 16, bytes(apdu))


def by_hdlc(chance: random.Random, request: bytes) -> bytes:
    try:
        frame = decode_frame(request[1:-1])
    except ValueError:
        return chance.randbytes(9)
    except Exception:
        return b""
    kind = chance.choice(list(FrameKind))
    info = b"\xe6\xe7\x00" + bytes.fromhex(chance.choice(ANSWERS)) if kind is FrameKind.INFORMATION else b""
    if frame.kind in (FrameKind.SET_NORMAL_RESPONSE_MODE, FrameKind.DISCONNECT) and chance.random() < 0.8:
        kind, info = FrameKind.UNNUMBERED_ACKNOWLEDGE, chance.choice([b"", b"\x81\x80\x03\x05\x01\x40", b"\x81\x80"])
    octets = bytearray(HdlcFrame(frame.source, frame.destination, kind, info, 0, 1).encode())
    if chance.random() < 0.1:
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    return bytes(octets)


@pytest.mark.parametrize("reply", [by_wrapper, by_hdlc])
@pytest.mark.parametrize("seed", range(15))
async def test_it_ends_with_a_report(reply: Reply, seed: int) -> None:
    chance = random.Random(seed)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(reply(chance, data))
                await writer.drain()
                if chance.random() < 0.05:
                    return
        except OSError:
            pass

    async with serving(serve) as (port, counted):
        report = await answering(port, timeout=0.06, link_timeout=0.03, longest=10.0)
        assert msgspec.json.decode(msgspec.json.encode(report))["target"] == f"127.0.0.1:{port}"
        assert counted.most_open <= 1
        assert counted.connections <= 6
