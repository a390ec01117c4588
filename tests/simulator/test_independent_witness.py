"""Simulated meters against dlms-cosem 21.3.2 over a real socket: every security, blocks, SET and ACTION."""

import asyncio
from typing import Any

import pytest
from dlms_cosem import cosem, enumerations
from dlms_cosem.exceptions import DlmsClientException
from dlms_cosem.time import datetime_from_bytes
from dlms_cosem.utils import parse_as_dlms_data
from tests.simulator.independent_client import independent_client

from metercast.simulator import MeterSpec, Population, Simulator
from metercast.simulator.log import AssociationEstablished, ServiceAnswered

CLOCK_TIME = cosem.CosemAttribute(enumerations.CosemInterface.CLOCK, cosem.Obis(0, 0, 1, 0, 0), 2)
OBJECT_LIST = cosem.CosemAttribute(enumerations.CosemInterface.ASSOCIATION_LN, cosem.Obis(0, 0, 40, 0, 0), 2)
CALENDAR = (enumerations.CosemInterface.ACTIVITY_CALENDAR, cosem.Obis(0, 0, 13, 0, 0))
BILLING_COUNTER = cosem.CosemAttribute(enumerations.CosemInterface.DATA, cosem.Obis(0, 0, 0, 1, 0), 2)
MDI_RESET = cosem.CosemMethod(enumerations.CosemInterface.SCRIPT_TABLE, cosem.Obis(0, 0, 10, 0, 1), 1)
NAME = bytes.fromhex("0905544F553236")  # "TOU26"

KINDS: list[dict[str, Any]] = [
    {"security": "none"},
    {"security": "lls"},
    {"security": "lls", "protection": "both"},
    {"security": "hls-gmac"},
]


def drive(client: Any) -> dict[str, Any]:
    """A whole session; blocks, so it runs in a thread."""
    found: dict[str, Any] = {}
    with client.session():
        found["clock"], _ = datetime_from_bytes(parse_as_dlms_data(client.get(CLOCK_TIME)))
        found["set"] = client.set(cosem.CosemAttribute(*CALENDAR, 6), NAME).result
        found["denied"] = client.set(cosem.CosemAttribute(*CALENDAR, 2), NAME).result
        found["activate"] = client.action(cosem.CosemMethod(*CALENDAR, 1), bytes.fromhex("0F00"))
        found["name"] = parse_as_dlms_data(client.get(cosem.CosemAttribute(*CALENDAR, 2)))
        found["objects"] = parse_as_dlms_data(client.get(OBJECT_LIST))
        client.action(MDI_RESET, bytes.fromhex("120001"))
        found["billing"] = parse_as_dlms_data(client.get(BILLING_COUNTER))
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind.values()))
@pytest.mark.parametrize("max_pdu", [65535, 200])
async def test_a_whole_session(kind: dict[str, Any], max_pdu: int) -> None:
    population = Population.build(1, **kind, clock_offset=90.0)
    spec = population.meters[0]
    async with Simulator(population, keep_events=True) as simulator:
        client = independent_client(spec, simulator.endpoint(spec.meter_id), max_pdu=max_pdu)
        found = await asyncio.to_thread(drive, client)
        meter = simulator.meter(spec.meter_id)
        assert abs(found["clock"].timestamp() - meter.state.clock.timestamp()) < 5
        assert found["set"] is enumerations.DataAccessResult.SUCCESS
        assert found["denied"] is enumerations.DataAccessResult.READ_WRITE_DENIED
        assert found["name"] == b"TOU26"
        assert len(found["objects"]) > 35
        assert found["billing"] == meter.state.billing_counter == 1
        assert meter.snapshot()["activeCalendarName"] == "TOU26"
        established = [event for event in simulator.events if isinstance(event, AssociationEstablished)]
        assert [event.mechanism for event in established] == [spec.authentication.replace("-", "_")]
        served = [event for event in simulator.events if isinstance(event, ServiceAnswered)]
        assert [event.result for event in served] == [0, 0, 3, 0, 0, 0, 0, 0]


async def associate(spec: MeterSpec, simulator: Simulator, **options: Any) -> str:
    """What dlms-cosem says of an association that fails."""
    client = independent_client(spec, simulator.endpoint(spec.meter_id), **options)

    def run() -> None:
        client.connect()
        try:
            client.associate()
        finally:
            client.disconnect()

    with pytest.raises(DlmsClientException) as failure:
        await asyncio.to_thread(run)
    return str(failure.value)


async def test_a_wrong_password_is_an_authentication_failure() -> None:
    population = Population.build(1, security="lls")
    async with Simulator(population) as simulator:
        message = await associate(population.meters[0], simulator, password=b"wrong")
    assert "REJECTED_PERMANENT" in message
    assert "AUTHENTICATION_FAILED: 13" in message


async def test_wrong_keys_do_not_decipher() -> None:
    population = Population.build(1, security="hls-gmac")
    other = Population.build(1, seed=2, security="hls-gmac").meters[0]
    async with Simulator(population) as simulator:
        message = await associate(other, simulator)
    assert "REJECTED_PERMANENT" in message
    assert message.endswith("extra info: 6")  # application-reference: deciphering-error


async def test_a_counter_that_was_used_is_refused() -> None:
    population = Population.build(1, security="hls-gmac")
    spec = population.meters[0]
    async with Simulator(population) as simulator:
        simulator.meter(spec.meter_id).security.client_counter = 1000
        message = await associate(spec, simulator, client_counter=1000)
        assert "INVOCATION_COUNTER_ERROR" in message
        client = independent_client(spec, simulator.endpoint(spec.meter_id), client_counter=1001)
        await asyncio.to_thread(drive, client)
        assert simulator.meter(spec.meter_id).security.client_counter == client.client_invocation_counter - 1
