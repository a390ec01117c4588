"""Whatever comes: the session ends or goes on cleanly, and no other meter notices."""

import asyncio
from random import Random
from typing import Any

import pytest
from tests.simulator.harness import Bench, associated, spec_of
from tests.simulator.raw_client import AARQ_NONE, GET_CLOCK, RLRQ, RawClient
from tests.simulator.test_association_security import VECTOR_2, aarq, keyed, opened
from tests.simulator.test_simulated_calendar import SET_DAYS, SET_SEASONS

from metercast.simulator import Population, Simulator
from metercast.simulator.line import MeterLine
from metercast.simulator.log import SessionClosed

TAGS = bytes.fromhex("60626301080e0f21c0c1c2c3c8c9cbd0d8dbdce0")
SEEDS = [
    AARQ_NONE,
    GET_CLOCK,
    RLRQ,
    bytes.fromhex(VECTOR_2),
    bytes.fromhex(SET_DAYS),
    bytes.fromhex(SET_SEASONS),
    bytes.fromhex("c301c1000900000a0001ff0101120001"),
    bytes.fromhex("c003c10200010000000100ff020000030100630100ff0200"),
    aarq(5, 0x30, 1, authentication=b"K56iVagY"),
    # An event log by range and by entry, a special day, a limiter's threshold and its emergency profile.
    bytes.fromhex(
        "c001c100070000636200ff0201010204020412000809060000010000ff0f02120000"
        + "090c07ea0501ff000000008000ff090c07ea0702ff000000008000ff0100"
    ),
    bytes.fromhex("c001c100070000636200ff02010202040600000001060000000a120001120000"),
    bytes.fromhex("c301c1000b00000b0000ff01010203120001090507ea0c19ff1103"),
    bytes.fromhex("c101c100470000110000ff04000600001388"),
    # A push object of each version, a window and a preset time.
    bytes.fromhex("c101c100280000190900ff0200010102041200080906000001" + "0000ff0f02120000"),
    bytes.fromhex("c101c100280001190900ff020001010205120008090600000100" + "00ff0f0212000002021600" + "00"),
    bytes.fromhex("c101c100280000190900ff04000101020209" + "0cffffffffff010000ff8000ff090cffffffffff050000ff8000ff"),
    bytes.fromhex("c101c10008000001" + "0000ff0500090cffff03fe07020000008000ff"),
    bytes.fromhex("c101c100470000110000ff08000203120003090c07ea0901ff000000008000ff0600000e10"),
]


def mutated(random: Random) -> bytes:
    octets = bytearray(random.choice(SEEDS))
    for _ in range(random.randrange(1, 5)):
        position = random.randrange(len(octets) + 1)
        match random.randrange(4):
            case 0 if position < len(octets):
                octets[position] = random.randrange(256)
            case 1:
                del octets[position : position + random.randrange(1, 6)]
            case 2:
                octets[position:position] = random.randbytes(random.randrange(1, 6))
            case _:
                octets = octets[:position] or octets
    return bytes(octets)


@pytest.mark.parametrize("make", [associated, lambda: Bench(spec_of("hls-gmac")), lambda: opened("both")])
def test_no_apdu_raises(make: Any) -> None:
    random = Random(26)
    bench: Bench = make()
    for number in range(3000):
        if number % 100 == 0:
            bench = make()
        if number % 3:
            bench.ask(mutated(random))
        else:
            bench.ask(bytes((random.choice(TAGS),)) + random.randbytes(random.randrange(60)))


def test_hls_pending_stands_any_apdu() -> None:
    random = Random(27)
    for _ in range(1000):
        bench = Bench(keyed("hls-gmac", protection="none"))
        bench.ask(aarq(5, 0, 0, authentication=b"K56iVagY", context=1))
        bench.ask(mutated(random))


async def test_random_octets_end_only_their_own_session() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    random = Random(28)
    population = Population.mixed(4, gateway=1)
    async with Simulator(population, keep_events=True) as simulator:
        async with RawClient(simulator.endpoint("meter-0001")) as bystander:
            await bystander.ask(AARQ_NONE)
            for number in range(60):
                meter_id = ("meter-0002", "meter-0003", "meter-0004")[number % 3]
                async with RawClient(simulator.endpoint(meter_id), server_sap=16 if number % 3 == 2 else 1) as client:
                    octets = random.randbytes(random.randrange(1, 400))
                    if number % 2:
                        client.send(octets)
                    else:
                        client.send_octets(octets)
                    client.writer.write_eof()
                    await client.rest()
            assert (await bystander.ask(GET_CLOCK)).hex().startswith("c401c100090c")
        await simulator.wait_for(lambda event: isinstance(event, SessionClosed) and event.meter == "meter-0001")
        assert all(not meter.sessions for meter in simulator.meters)
    assert complaints == []


async def test_every_way_to_cut_a_request_into_two() -> None:
    population = Population.build(1, security="none")
    async with Simulator(population) as simulator:
        for cut in range(1, 8 + len(AARQ_NONE)):
            async with RawClient(simulator.endpoint("meter-0001")) as client:
                frame = b"\0\1\0\1\0\1\0" + bytes((len(AARQ_NONE),)) + AARQ_NONE
                client.send_octets(frame[:cut])
                await client.writer.drain()
                await asyncio.sleep(0)
                client.send_octets(frame[cut:])
                assert "a203020100" in (await client.receive()).hex()


async def test_a_thousand_listeners() -> None:
    population = Population.mixed(1000)
    async with Simulator(population) as simulator:
        endpoints = {simulator.endpoint(meter.meter_id) for meter in simulator.meters}
        assert len(endpoints) == 1000
        for meter_id in ("meter-0001", "meter-0500", "meter-0997", "meter-1000"):
            async with RawClient(simulator.endpoint(meter_id), client_sap=16) as client:
                assert "a203020100" in (await client.ask(AARQ_NONE)).hex()
                name = await client.ask(bytes.fromhex("c001c1000100002a0000ff0200"))
                assert name.endswith(simulator.meter(meter_id).spec.logical_device_name.encode())


async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    population = Population.build(1, security="none", max_pdu=65535)
    request = bytes.fromhex("c001c1000f0000280000ff0200")
    async with Simulator(population) as simulator, RawClient(simulator.endpoint("meter-0001")) as client:
        await client.ask(AARQ_NONE)
        (session,) = simulator.meter("meter-0001").sessions
        line = session.line
        assert isinstance(line, MeterLine)
        assert line.transport is not None
        asked = 0
        while line.transport.is_reading():
            assert asked < 50_000
            for _ in range(100):
                client.send(request)
            asked += 100
            await asyncio.sleep(0)
        for _ in range(asked):
            assert (await client.receive())[:4] == b"\xc4\x01\xc1\x00"
        assert line.transport.is_reading()
        assert session.outbox.sent == client.received
