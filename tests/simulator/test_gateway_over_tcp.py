"""Meters behind one address, and how sessions are counted."""

import asyncio

from tests.simulator.raw_client import AARQ_NONE, GET_CLOCK, RLRQ, RawClient

from metercast.simulator import Population, Simulator, overlapping_sessions
from metercast.simulator.faults import DropConnection
from metercast.simulator.log import ServiceAnswered, SessionClosed, SessionOpened

LDN = bytes.fromhex("c001c1000100002a0000ff0200")


def gateway_of(count: int, second: str = "close") -> Simulator:
    population = Population.build(count, security="none", gateway=count, second_connection=second)  # type: ignore[arg-type]
    return Simulator(population, keep_events=True)


async def test_the_server_sap_chooses_the_meter() -> None:
    async with gateway_of(3) as simulator, RawClient(simulator.endpoint("meter-0001")) as client:
        assert len({simulator.endpoint(meter.meter_id) for meter in simulator.meters}) == 1
        for meter in simulator.meters:
            client.server_sap = meter.spec.server_sap
            assert "a203020100" in (await client.ask(AARQ_NONE)).hex()
            assert (await client.ask(LDN)).endswith(meter.spec.logical_device_name.encode())
        client.server_sap = simulator.meters[0].spec.server_sap
        assert (await client.ask(GET_CLOCK)).hex().startswith("c401c100")
        await client.ask(RLRQ)
    services = [event.meter for event in simulator.events if isinstance(event, ServiceAnswered)]
    assert services == ["meter-0001", "meter-0002", "meter-0003", "meter-0001"]
    assert overlapping_sessions(simulator.events) == []


async def test_nobody_answers_for_an_unknown_sap() -> None:
    async with gateway_of(2) as simulator, RawClient(simulator.endpoint("meter-0001"), server_sap=99) as client:
        client.send(AARQ_NONE)
        client.server_sap = 16
        assert "a203020100" in (await client.ask(AARQ_NONE)).hex()


async def test_a_second_connection_is_closed_at_once() -> None:
    async with gateway_of(2) as simulator, RawClient(simulator.endpoint("meter-0001"), server_sap=16) as first:
        await first.ask(AARQ_NONE)
        async with RawClient(simulator.endpoint("meter-0002"), server_sap=17) as second:
            assert await second.rest() == b""
        assert simulator.gateway("gw-1").closed_at_once == 1
        first.close()
        async with RawClient(simulator.endpoint("meter-0002"), server_sap=17) as third:
            assert "a203020100" in (await third.ask(AARQ_NONE)).hex()


async def test_a_second_connection_waits_for_its_turn() -> None:
    async with gateway_of(2, "wait") as simulator, RawClient(simulator.endpoint("meter-0001"), server_sap=16) as first:
        await first.ask(AARQ_NONE)
        async with RawClient(simulator.endpoint("meter-0002"), server_sap=17) as second:
            second.send(AARQ_NONE)
            second.send(LDN)
            assert (await first.ask(GET_CLOCK)).hex().startswith("c401c100")
            first.close()
            assert "a203020100" in (await second.receive()).hex()
            assert (await second.receive()).hex().startswith("c401c100")
    opened = [event.meter for event in simulator.events if isinstance(event, SessionOpened)]
    assert opened == ["meter-0001", "meter-0002"]


async def test_a_drop_behind_a_gateway() -> None:
    async with gateway_of(2) as simulator:
        await simulator.set_faults("meter-0002", (DropConnection(after_received=50),))
        async with RawClient(simulator.endpoint("meter-0001"), server_sap=16) as client:
            await client.ask(AARQ_NONE)
            client.server_sap = 17
            await client.ask(AARQ_NONE)
            client.send(GET_CLOCK)
            assert await client.rest() == b""
        closed = {event.meter: event.received for event in simulator.events if isinstance(event, SessionClosed)}
        assert closed == {"meter-0001": 8 + len(AARQ_NONE), "meter-0002": 50}


async def test_two_sessions_on_one_meter_show() -> None:
    population = Population.build(2, security="none")
    async with Simulator(population, keep_events=True) as simulator:
        endpoint = simulator.endpoint("meter-0001")
        async with RawClient(endpoint) as first, RawClient(endpoint) as second:
            await first.ask(AARQ_NONE)
            await second.ask(AARQ_NONE)
        async with RawClient(simulator.endpoint("meter-0002")) as other:
            await other.ask(AARQ_NONE)
        assert [event.meter for event in overlapping_sessions(simulator.events)] == ["meter-0001"]
        assert [state["maxConcurrentSessions"] for state in simulator.snapshot()] == [2, 1]


async def test_one_after_the_other_never_counts_as_two() -> None:
    population = Population.build(1, security="none")
    async with Simulator(population, keep_events=True) as simulator:
        for _ in range(30):
            _, writer = await asyncio.open_connection(*simulator.endpoint("meter-0001"))
            writer.write(b"\0\1")
            # Closed and opened again at once: the meter may see the new connection first.
            writer.transport.abort()
        await simulator.wait_for(lambda event: isinstance(event, SessionClosed) and event.session == 30)
        assert overlapping_sessions(simulator.events) == []
