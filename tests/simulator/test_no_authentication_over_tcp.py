"""A meter without authentication, driven over a real socket with the octets of the catalogue and the vectors."""

from datetime import UTC, datetime

import pytest
from tests.simulator.raw_client import AARQ_NONE, GET_CLOCK, RLRQ, RawClient

from metercast.dlms.datetimes import CosemDateTime
from metercast.simulator import Population, Simulator
from metercast.simulator.log import AssociationEstablished, ServiceAnswered, SessionClosed, SessionOpened

AARE_HEAD = bytes.fromhex("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F0400")


def running() -> Simulator:
    return Simulator(Population.build(1, security="none", clock_offset=0.0), keep_events=True)


async def test_get_clock_through_the_public_client() -> None:
    population = Population.build(1, security="none", clock_offset=0.0)
    async with (
        Simulator(population, keep_events=True) as simulator,
        RawClient(simulator.endpoint("meter-0001")) as client,
    ):
        client.client_sap = 16
        aare = await client.ask(AARQ_NONE)
        assert aare.startswith(
            bytes.fromhex("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F0400")
        )
        answer = await client.ask(GET_CLOCK)
        assert answer[:4] == bytes.fromhex("C401C100")
        assert answer[4:6] == bytes.fromhex("090C")
        clock = CosemDateTime.decode(answer[6:]).to_datetime()
        assert abs((clock - datetime.now(UTC)).total_seconds()) < 5
        assert await client.ask(RLRQ) == bytes.fromhex("6303800100")
        client.close()
        await simulator.wait_for(lambda event: isinstance(event, SessionClosed))
    kinds = [type(event).__name__ for event in simulator.events]
    assert kinds == [
        "SessionOpened",
        "AssociationAnswered",
        "AssociationEstablished",
        "ServiceAnswered",
        "AssociationReleased",
        "SessionClosed",
    ]
    opened, _, established, service, _, closed = simulator.events
    assert isinstance(opened, SessionOpened)
    assert opened.concurrent == 1
    assert isinstance(established, AssociationEstablished)
    assert (established.client_sap, established.mechanism) == (16, "none")
    assert isinstance(service, ServiceAnswered)
    assert (service.class_id, service.logical_name, service.index, service.result) == (8, "0.0.1.0.0.255", 2, 0)
    assert isinstance(closed, SessionClosed)
    assert closed.reason == "peer"
    assert closed.received == client.sent
    assert closed.sent == client.received


async def test_nothing_is_served_before_the_association() -> None:
    async with (
        Simulator(Population.build(1, security="none")) as simulator,
        RawClient(simulator.endpoint("meter-0001")) as client,
    ):
        assert await client.ask(GET_CLOCK) == bytes.fromhex("D80101")


@pytest.mark.parametrize(("client_sap", "server_sap", "diagnostic"), [(2, 1, 3), (16, 2, 7), (1, 16, 7)])
async def test_unknown_saps_are_rejected(client_sap: int, server_sap: int, diagnostic: int) -> None:
    async with (
        Simulator(Population.build(1, security="none")) as simulator,
        RawClient(simulator.endpoint("meter-0001")) as client,
    ):
        client.client_sap, client.server_sap = client_sap, server_sap
        aare = await client.ask(AARQ_NONE)
        expected = f"611FA109060760857405080101A203020101A305A1030201{diagnostic:02X}"
        assert aare.hex().upper()[4:] == expected[4:]
