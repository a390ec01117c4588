"""Sessions with simulated meters over real sockets: every authentication, every protection, and a gateway."""

from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import QUICK, MemoryCounterStore, driver, execute, meter_of

from metercast.domain.outcome import How, Phase
from metercast.domain.words import ErrorWord
from metercast.driver.counters import InvocationCounters
from metercast.driver.dlms import DlmsDriver
from metercast.driver.transport import TcpConnector
from metercast.simulator.log import AssociationEstablished, AssociationReleased, ServiceAnswered, SessionOpened
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import AUTHENTICATIONS

CASES = [
    (authentication, protection)
    for authentication in AUTHENTICATIONS
    for protection in ("none", "authenticated", "encrypted", "both")
]


@pytest.mark.parametrize(("authentication", "protection"), CASES)
async def test_every_authentication_with_every_protection(authentication: Any, protection: Any) -> None:
    population = Population.build(1, security=authentication, protection=protection)
    async with Simulator(population, keep_events=True) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        outcome = await execute(meter, by=by)
        assert (outcome.how, outcome.error, outcome.detail) == (How.DONE, None, None)
        assert abs(outcome.result["differenceSeconds"]) < 60
        outcome = await execute(meter, "SET_TOU", set_tou(), by=by)
        assert outcome.how is How.DONE
        assert outcome.result["active"]["calendarName"] == "TOU26"
        established = [event for event in simulator.events if isinstance(event, AssociationEstablished)]
        released = [event for event in simulator.events if isinstance(event, AssociationReleased)]
        assert len(established) == len(released) == 2


async def test_every_command_on_one_meter() -> None:
    async with Simulator(Population.build(1, security="hls-gmac", clock_offset=-100.0)) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        hows = []
        for name, raw in (
            ("READ_REGISTERS", {"items": [{"obis": "1.0.1.8.0.255"}]}),
            ("SYNC_CLOCK", None),
            ("SYNC_CLOCK", None),
            ("DISCONNECT", None),
            ("DISCONNECT", None),
            ("RECONNECT", None),
            ("SET_TOU", set_tou(activation={"mode": "at", "at": "2090-01-01T00:00:00Z"})),
            ("SET_TOU", {"activation": {"mode": "disarm"}}),
            ("GET_TOU", None),
        ):
            outcome = await execute(meter, name, raw, by=by)
            assert outcome.error is None, outcome.detail
            hows.append(outcome.how)
        assert hows == [
            How.DONE,
            How.DONE,
            How.ALREADY_SO,
            How.DONE,
            How.ALREADY_SO,
            How.DONE,
            How.SCHEDULED,
            How.DONE,
            How.DONE,
        ]


async def test_small_pdus_make_blocks_both_ways() -> None:
    async with Simulator(Population.build(1, security="hls-gmac", max_pdu=96)) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        seasons = [{"name": str(number), "start": {"month": number, "day": 1}, "week": "1"} for number in range(1, 13)]
        outcome = await execute(meter, "SET_TOU", set_tou(seasons=seasons), by=by)
        assert outcome.how is How.DONE, outcome.detail
        outcome = await execute(meter, "GET_TOU", {"which": "active"}, by=by)
        assert len(outcome.result["active"]["seasons"]) == 12


async def test_counters_are_reserved_while_blocks_go_out() -> None:
    """One service of more APDUs than a reserved block holds."""
    async with Simulator(Population.build(1, security="hls-gmac", max_pdu=96)) as simulator:
        (document,) = simulator.device_records()
        store = MemoryCounterStore()
        by = DlmsDriver(TcpConnector(), InvocationCounters(store, block=16), QUICK)
        schedule = [{"start": f"{hour:02}:00:00", "selector": hour} for hour in range(24)]
        days = [{"id": number, "schedule": schedule} for number in range(1, 25)]
        outcome = await execute(meter_of(document), "SET_TOU", set_tou("none", days=days), by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert len(store.reserved) > 20


@pytest.mark.parametrize("second", ["close", "wait"])
async def test_meters_behind_one_gateway(second: Any) -> None:
    population = Population.mixed(9, gateway=9, second_connection=second)
    async with Simulator(population, keep_events=True) as simulator:
        names = set()
        for document in simulator.device_records():
            meter = meter_of(document)
            outcome = await execute(meter)
            assert outcome.how is How.DONE, outcome.detail
            names.add(meter.record.server_sap)
        assert len(names) == 9
        opened = [event for event in simulator.events if isinstance(event, SessionOpened)]
        assert max(event.concurrent for event in opened) == 1


async def test_a_sap_without_a_meter_ends_with_a_word() -> None:
    async with Simulator(Population.mixed(1)) as simulator:
        (document,) = simulator.device_records()
        outcome = await execute(meter_of({**document, "serverSap": 99}))
        assert (outcome.error, outcome.phase) == (ErrorWord.ASSOCIATION_REJECTED, Phase.ASSOCIATING)
        assert outcome.detail == "AARQ: rejected-permanent (1), 7"


async def test_counters_are_reserved_before_use_and_shared_by_sessions() -> None:
    async with Simulator(Population.build(1, security="hls-gmac")) as simulator:
        (document,) = simulator.device_records()

        store = MemoryCounterStore()
        by = driver(store=store)
        for _ in range(3):
            assert (await execute(meter_of(document), by=by)).how is How.DONE
        assert store.reserved == [(1, 1000)]
        # Another process goes on behind what was reserved, never inside it.
        assert (await execute(meter_of(document), by=driver(store=store))).how is How.DONE
        assert store.reserved == [(1, 1000), (1001, 1000)]


async def test_a_meter_that_refuses_one_object_is_released_politely() -> None:
    async with Simulator(Population.build(1, security="lls"), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        raw = {"items": [{"obis": "1.0.99.99.9.255"}]}
        outcome = await execute(meter_of(document), "READ_REGISTERS", raw)
        assert (outcome.error, outcome.phase) == (ErrorWord.OBJECT_UNDEFINED, Phase.READING)
        assert outcome.result["items"][0]["error"] == "ObjectUndefined"
        assert any(isinstance(event, AssociationReleased) for event in simulator.events)
        assert any(isinstance(event, ServiceAnswered) and event.result == 4 for event in simulator.events)
