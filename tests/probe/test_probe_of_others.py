"""What answers at an address is often no meter, or half of one: every probe ends in a report, soon, and politely."""

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from tests.capture.captures import wrapper
from tests.probe.servers import answering, serving

from metercast.dlms.datetimes import CosemDateTime, DeviationSign
from metercast.dlms.hdlc import FrameKind, HdlcAddress, HdlcFrame, decode_frame
from metercast.probe.probing import NotReached
from metercast.probe.reading import clock_facts

AARE = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"


async def read_some(reader: asyncio.StreamReader) -> bytes:
    return await reader.read(4096)


async def test_nothing_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NotReached, match="refused"):
            await answering(taken.getsockname()[1])


async def test_a_silent_port_is_given_up_after_few_connections() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_some(reader):
            pass

    async with serving(serve) as (port, counted):
        report = await answering(port, timeout=0.1, link_timeout=0.02)
        assert not report.is_meter
        assert (counted.connections, counted.most_open) == (3, 1)
        assert "wrapper, server 1: silent" in report.notes
        assert report.draft is None


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "'HTTP/1.1 400 Bad Request'"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "'SSH-2.0-OpenSSH_9.6'"),
        (bytes(range(128, 255)), "808182"),
        (b"", "the connection was closed"),
    ],
)
async def test_other_servers_are_told_by_what_they_say(answer: bytes, part: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_some(reader)
        writer.write(answer)
        await writer.drain()

    async with serving(serve) as (port, counted):
        report = await answering(port)
        assert not report.is_meter
        assert part in report.notes[0]
        assert counted.connections <= 3


async def test_random_octets_for_ever() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(os.urandom(2000).replace(b"\x7e", b"").replace(b"\x00\x01", b""))
                await writer.drain()
        except OSError:
            pass

    async with serving(serve) as (port, counted):
        report = await answering(port)
        assert not report.is_meter
        assert counted.connections <= 2


async def test_a_meter_that_answers_only_an_rlrq() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await read_some(reader):
            if data[8] == 0x62:
                writer.write(wrapper(1, 16, "6303800100"))

    async with serving(serve) as (port, counted):
        report = await answering(port)
        assert report.is_meter
        assert report.line.framing == "wrapper"
        assert report.public.answer == "no answer"
        assert counted.connections == 1


async def test_a_converter_that_sends_back_what_goes_out() -> None:
    """Two wires, both directions: the echo comes first, the answer behind it."""
    meter = HdlcAddress(1, 17, 2).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await read_some(reader):
            writer.write(data)
            await writer.drain()
            if data[:1] != b"\x7e":
                continue
            frame = decode_frame(data[1:-1])
            if frame.destination == meter:
                await asyncio.sleep(0.02)
                opens = frame.kind in (FrameKind.SET_NORMAL_RESPONSE_MODE, FrameKind.DISCONNECT)
                kind = FrameKind.UNNUMBERED_ACKNOWLEDGE if opens else FrameKind.DISCONNECTED_MODE
                writer.write(HdlcFrame(frame.source, meter, kind).encode())

    async with serving(serve) as (port, _):
        report = await answering(port, framing="hdlc")
        assert (report.line.address_size, report.line.physical_device) == (2, 17)
        assert report.public.answer == "the meter answers with HDLC disconnected mode"


async def test_a_meter_that_answers_another_server_address() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_some(reader)
        writer.write(wrapper(5, 16, AARE))
        while await read_some(reader):
            pass

    async with serving(serve) as (port, _):
        report = await answering(port)
        assert report.line.server_sap == 5
        assert any("comes from server 5" in note for note in report.notes)
        assert report.public.conformance


async def test_a_meter_that_closes_in_the_midst_of_its_answers() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = [AARE, "c401c100" + "090a" + "4d4d4d30303030303031"]
        for answer in answers:
            data = await read_some(reader)
            if data[8:9] == b"\x62":
                writer.write(wrapper(1, 16, "6303800100"))
                return
            writer.write(wrapper(1, 16, answer))
        await read_some(reader)

    async with serving(serve) as (port, counted):
        report = await answering(port)
        assert report.identity.logical_device_name == "MMM0000001"
        assert any("nothing more was asked" in note for note in report.notes)
        assert counted.most_open == 1


async def test_the_time_of_all_is_bounded() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_some(reader):
            pass

    async with serving(serve) as (port, _):
        report = await answering(port, timeout=60.0, longest=0.2)
        assert report.notes == ["given up after 0.2 s; this is what was found until then"]


NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sign", "offset", "error", "found"),
    [
        (DeviationSign.STANDARD, 2, 5, "standard"),
        (DeviationSign.INVERTED, 2, -5, "inverted"),
        (DeviationSign.INVERTED, -7, 0, "inverted"),
        (DeviationSign.STANDARD, 0, 5, "not told"),
        (DeviationSign.STANDARD, 2, 5000, "not clear"),
    ],
)
def test_which_sign_a_deviation_has(sign: DeviationSign, offset: int, error: int, found: str) -> None:
    from datetime import timezone

    told = (NOON + timedelta(seconds=error)).astimezone(timezone(timedelta(hours=offset)))
    facts = clock_facts(CosemDateTime.from_datetime(told, sign=sign), NOON, timedelta(seconds=1), None)
    assert facts.sign == found
    if found in ("standard", "inverted"):
        assert facts.difference_seconds == error


def test_a_clock_without_deviation() -> None:
    facts = clock_facts(CosemDateTime.from_datetime(NOON, specify_deviation=False), NOON, timedelta(seconds=1), -60)
    assert (facts.sign, facts.deviation_minutes, facts.time_zone_minutes) == ("not told", None, -60)
