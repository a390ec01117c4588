"""A counter out of step: found, caught up once, never lowered, and never further than allowed."""

from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import QUICK, MemoryCounterStore, driver, execute, meter_of
from tests.driver.transports import Played, framed

from metercast.domain.outcome import How, Phase
from metercast.domain.words import ErrorWord
from metercast.driver.counters import InvocationCounters
from metercast.driver.dlms import DlmsDriver
from metercast.driver.transport import TcpConnector
from metercast.simulator import faults
from metercast.simulator.log import AssociationAnswered, SessionOpened
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator


def population(protection: Any = None, security: Any = "hls-gmac") -> Population:
    return Population.build(1, security=security, protection=protection)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    ("security", "protection"),
    [("hls-gmac", "both"), ("hls-gmac", "encrypted"), ("lls", "authenticated"), ("none", "both")],
)
async def test_a_stale_counter_is_caught_up_once(silent: bool, security: Any, protection: Any) -> None:
    async with Simulator(population(protection, security), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        meter, store = meter_of(document), MemoryCounterStore()
        await simulator.set_faults("meter-0001", (faults.StaleCounter(ahead=5000, silent=silent),))
        by = driver(store=store)
        outcome = await execute(meter, "SET_TOU", set_tou(), by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert [first for first, _ in store.reserved] == [1, 5001]
        sessions = [event for event in simulator.events if isinstance(event, SessionOpened)]
        assert len(sessions) == 3  # out of step, as public client, in step
        assert max(event.concurrent for event in sessions) == 1
        clients = [event.client_sap for event in simulator.events if isinstance(event, AssociationAnswered)]
        assert clients.count(16) == 1
        # From now on it is in step.
        assert (await execute(meter, by=by)).how is How.DONE
        assert len([event for event in simulator.events if isinstance(event, SessionOpened)]) == 4


async def test_a_stale_proof_is_caught_up_and_left_to_the_retry() -> None:
    """Without ciphering the meter sees a wrong proof only: we must not knock again at once."""
    async with Simulator(population("none"), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (faults.StaleCounter(ahead=5000),))
        by = driver()
        outcome = await execute(meter_of(document), by=by)
        assert (outcome.error, outcome.phase) == (ErrorWord.INVOCATION_COUNTER_ERROR, Phase.ASSOCIATING)
        asked = [e for e in simulator.events if isinstance(e, AssociationAnswered) and e.client_sap == 1]
        assert len(asked) == 1
        assert (await execute(meter_of(document), by=by)).how is How.DONE


@pytest.mark.parametrize("silent", [False, True])
async def test_a_jump_above_the_limit_is_refused(silent: bool) -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        store = MemoryCounterStore()
        await simulator.set_faults("meter-0001", (faults.StaleCounter(ahead=5000, silent=silent),))
        counters = InvocationCounters(store, max_jump=4000)
        outcome = await execute(meter_of(document), by=DlmsDriver(TcpConnector(), counters, QUICK))
        assert (outcome.error, outcome.phase) == (ErrorWord.INVOCATION_COUNTER_ERROR, Phase.ASSOCIATING)
        assert outcome.detail is not None
        assert "the limit is 4000" in outcome.detail
        assert [first for first, _ in store.reserved] == [1]


async def test_a_counter_below_ours_is_not_followed() -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        store = MemoryCounterStore(first=50_000)
        # The meter drops us for another reason, and tells a low counter.
        await simulator.set_faults("meter-0001", (faults.DropConnection(after_received=4, times=1),))
        by = driver(store=store)
        outcome = await execute(meter_of(document), by=by)
        assert (outcome.error, outcome.phase) == (ErrorWord.CONNECTION_LOST, Phase.ASSOCIATING)
        assert (await execute(meter_of(document), by=by)).how is How.DONE
        assert [first for first, _ in store.reserved] == [50_000]
        asked = [e for e in simulator.events if isinstance(e, AssociationAnswered) and e.client_sap == 1]
        assert len(asked) == 1


async def test_wrong_keys_are_not_tried_again() -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (faults.WrongKey(),))
        outcome = await execute(meter_of(document))
        assert outcome.error is ErrorWord.AUTHENTICATION_FAILED, outcome.detail
        sessions = [event for event in simulator.events if isinstance(event, SessionOpened)]
        assert len(sessions) <= 2  # ours, and the public client that finds the counter in step
        assert simulator.meter("meter-0001").max_concurrent == 1


async def test_without_ciphering_there_is_no_counter_to_ask_for() -> None:
    async with Simulator(population(security="lls"), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (faults.DropConnection(after_received=4),))
        outcome = await execute(meter_of(document))
        assert outcome.error is ErrorWord.CONNECTION_LOST
        assert len([event for event in simulator.events if isinstance(event, SessionOpened)]) == 1


async def test_a_meter_that_stays_silent_is_asked_twice_at_most() -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (faults.NeverAnswer(),))
        outcome = await execute(meter_of(document))
        assert outcome.error is ErrorWord.TIMEOUT
        assert outcome.detail is not None
        assert "the counter could not be read" in outcome.detail
        assert len([event for event in simulator.events if isinstance(event, SessionOpened)]) == 2


async def test_a_meter_that_is_never_content_is_asked_twice() -> None:
    """Each time it says that the counter is wrong, and tells one that is further on."""
    aare = "6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000501f01f40007"
    public = framed(aare, "c401c10006000003e8", "6303800100")
    complaint = framed("d80206000003e9", client=1)
    connector = Played(complaint, public, complaint, public, complaint)
    document = next(population().device_records({"meter-0001": ("127.0.0.1", 4059)}))
    store = MemoryCounterStore()
    outcome = await execute(meter_of(document), by=driver(connector, store))
    assert (outcome.error, outcome.phase) == (ErrorWord.INVOCATION_COUNTER_ERROR, Phase.ASSOCIATING)
    assert len(connector.transports) == 3
    assert [first for first, _ in store.reserved] == [1, 1001]


async def test_where_the_public_client_is_refused_the_complaint_itself_tells() -> None:
    refused = framed("6117a109060760857405080101a203020101a305a103020101")
    complaint = framed("d80206000003e9", client=1)
    connector = Played(complaint, refused, complaint)
    document = next(population().device_records({"meter-0001": ("127.0.0.1", 4059)}))
    store = MemoryCounterStore()
    await execute(meter_of(document), by=driver(connector, store))
    assert len(connector.transports) == 3
    assert [first for first, _ in store.reserved] == [1, 1001]
