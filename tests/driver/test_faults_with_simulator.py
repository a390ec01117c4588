"""Every fault of the simulator ends with the right word and phase, in bounded time."""

import asyncio
import time
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import execute, meter_of

from metercast.domain.outcome import How, OutcomeKind, Phase
from metercast.domain.words import ErrorWord
from metercast.simulator import faults
from metercast.simulator.faults import AnyFault
from metercast.simulator.log import AssociationAnswered, SessionOpened
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

CALENDAR = "0.0.13.0.0.255"
BEFORE, ASSOCIATING, READING, CHANGING = Phase


def access_error(service: Any, index: int, result: int) -> AnyFault:
    return faults.AccessError(service=service, class_id=20, logical_name=CALENDAR, index=index, result=result)


@pytest.mark.parametrize("security", ["none", "lls", "hls-gmac"])
@pytest.mark.parametrize(
    ("fault", "word", "phase"),
    [
        (faults.RefuseConnections(), ErrorWord.CONNECTION_REFUSED, BEFORE),
        (faults.NeverAnswer(), ErrorWord.TIMEOUT, ASSOCIATING),
        (faults.DelayAnswers(minimum=30, maximum=60), ErrorWord.TIMEOUT, ASSOCIATING),
        (faults.DropConnection(after_received=4), ErrorWord.CONNECTION_LOST, ASSOCIATING),
        (faults.DropConnection(after_sent=5), ErrorWord.CONNECTION_LOST, ASSOCIATING),
        (faults.RejectAssociation(), ErrorWord.ASSOCIATION_REJECTED, ASSOCIATING),
        (faults.RejectAssociation(diagnostic=13), ErrorWord.AUTHENTICATION_FAILED, ASSOCIATING),
        (faults.RejectAssociation(result="transient"), ErrorWord.METER_BUSY, ASSOCIATING),
        (faults.RejectAssociation(result="transient", diagnostic=2), ErrorWord.ASSOCIATION_REJECTED, ASSOCIATING),
        (faults.Garbage(), ErrorWord.INVALID_RESPONSE, ASSOCIATING),
        (faults.Garbage(octets=4), ErrorWord.INVALID_RESPONSE, ASSOCIATING),
        (faults.HugeLength(), ErrorWord.TIMEOUT, ASSOCIATING),
        (access_error("get", 10, 3), ErrorWord.READ_WRITE_DENIED, READING),
        (access_error("get", 2, 11), ErrorWord.OBJECT_UNAVAILABLE, READING),
        (access_error("set", 8, 12), ErrorWord.TYPE_UNMATCHED, CHANGING),
        (access_error("set", 6, 13), ErrorWord.SCOPE_OF_ACCESS_VIOLATED, CHANGING),
        (access_error("get", 9, 1), ErrorWord.HARDWARE_FAULT, CHANGING),
        (access_error("action", 1, 250), ErrorWord.OTHER_REASON, CHANGING),
        (access_error("action", 1, 15), ErrorWord.TRANSFER_ABORTED, CHANGING),
        (faults.LoseActionAnswer(), ErrorWord.CONNECTION_LOST, CHANGING),
    ],
)
async def test_set_tou_under_a_fault(security: Any, fault: AnyFault, word: ErrorWord, phase: Phase) -> None:
    async with Simulator(Population.build(1, security=security)) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (fault,))
        began = time.monotonic()
        outcome = await execute(meter_of(document), "SET_TOU", set_tou())
        assert (outcome.kind, outcome.error, outcome.phase) == (OutcomeKind.FAILED, word, phase), outcome.detail
        assert outcome.detail
        assert time.monotonic() - began < 10
        if phase is not CHANGING:
            assert simulator.meter("meter-0001").snapshot()  # the meter lives on


@pytest.mark.parametrize("octets", [1, 7, 50])
async def test_frames_in_pieces_are_no_fault(octets: int) -> None:
    async with Simulator(Population.build(1, security="hls-gmac")) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (faults.CutFrames(octets=octets, pause=0.0),))
        assert (await execute(meter_of(document))).how is How.DONE


@pytest.mark.parametrize("good", [1, 2, 3, 4])
@pytest.mark.parametrize("security", ["none", "hls-gmac"])
async def test_garbage_later_in_the_session(good: int, security: Any) -> None:
    async with Simulator(Population.build(1, security=security)) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (faults.Garbage(after_answers=good),))
        outcome = await execute(meter_of(document), "GET_TOU")
        assert outcome.error is ErrorWord.INVALID_RESPONSE, outcome.detail


async def test_wrong_keys() -> None:
    words = {}
    for security in ("lls", "hls-gmac"):
        async with Simulator(Population.build(1, security=security), keep_events=True) as simulator:
            (document,) = simulator.device_records()
            await simulator.set_faults("meter-0001", (faults.WrongKey(),))
            outcome = await execute(meter_of(document))
            words[security] = outcome.error
            assert outcome.phase is ASSOCIATING
            asked = [e for e in simulator.events if isinstance(e, AssociationAnswered) and e.client_sap == 1]
            assert len(asked) <= 1
    assert set(words.values()) == {ErrorWord.AUTHENTICATION_FAILED}


async def test_temporary_failures_pass() -> None:
    async with Simulator(Population.build(1, security="none")) as simulator:
        (document,) = simulator.device_records()
        await simulator.set_faults("meter-0001", (faults.TemporaryFailures(services=1),))
        outcome = await execute(meter_of(document))
        assert (outcome.error, outcome.phase) == (ErrorWord.TEMPORARY_FAILURE, READING)
        assert (await execute(meter_of(document))).how is How.DONE


async def test_a_held_association_is_a_busy_meter() -> None:
    async with Simulator(Population.build(1, security="none"), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        meter = meter_of(document)
        hold = (faults.HoldAssociation(seconds=0.3), faults.LoseActionAnswer(actions=1))
        await simulator.set_faults("meter-0001", hold)
        assert (await execute(meter, "DISCONNECT")).error is ErrorWord.CONNECTION_LOST
        assert (await execute(meter, "DISCONNECT")).error is ErrorWord.METER_BUSY
        outcome = await execute(meter, "DISCONNECT")
        while outcome.error is ErrorWord.METER_BUSY:
            await asyncio.sleep(0.05)
            outcome = await execute(meter, "DISCONNECT")
        # What the lost answer hid is found by reading first.
        assert outcome.how is How.ALREADY_SO


def physical(snapshot: dict[str, Any]) -> dict[str, Any]:
    """What a command could have changed."""
    talk = ("sessions", "maxConcurrentSessions", "clientCounter", "clockOffset")
    return {name: value for name, value in snapshot.items() if name not in talk}


@pytest.mark.parametrize("security", ["none", "lls", "hls-gmac"])
@pytest.mark.parametrize("name", ["SET_TOU", "DISCONNECT", "READ_CLOCK"])
async def test_another_meter_answers(security: Any, name: str) -> None:
    async with Simulator(Population.build(1, security=security)) as simulator:
        (document,) = simulator.device_records()
        meter = simulator.meter("meter-0001")
        before = physical(meter.snapshot())
        await simulator.set_faults("meter-0001", (faults.AnotherIdentity(),))
        raw = set_tou() if name == "SET_TOU" else None
        outcome = await execute(meter_of(document), name, raw)
        assert outcome.error is ErrorWord.IDENTITY_MISMATCH, outcome.detail
        assert outcome.phase in (ASSOCIATING, READING)
        assert physical(meter.snapshot()) == before


async def test_many_meters_at_once_each_with_its_own_end() -> None:
    async with Simulator(Population.mixed(30), keep_events=True) as simulator:
        documents = list(simulator.device_records())
        await simulator.set_faults("meter-0007", (faults.NeverAnswer(),))
        await simulator.set_faults("meter-0011", (faults.Garbage(),))
        outcomes = await asyncio.gather(*(execute(meter_of(each)) for each in documents))
        failed = {document["deviceId"]: outcome.error for document, outcome in zip(documents, outcomes, strict=True)}
        assert {each: word for each, word in failed.items() if word} == {
            "meter-0007": ErrorWord.TIMEOUT,
            "meter-0011": ErrorWord.INVALID_RESPONSE,
        }
        opened = [event for event in simulator.events if isinstance(event, SessionOpened)]
        assert max(event.concurrent for event in opened) == 1
