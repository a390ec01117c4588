"""When the engine says no: nothing is changed any more, and the outcome tells what may have been."""

from tests.commands.calendars import set_tou
from tests.driver.support import PATIENT, MemoryCounterStore, ScriptedCheckpoint, driver, execute, meter_of

from metercast.domain.outcome import How, OutcomeKind, Phase
from metercast.domain.problem import Unavailable
from metercast.domain.words import ErrorWord
from metercast.simulator.log import ActionExecuted, AssociationReleased, ServiceAnswered, SessionOpened
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import HdlcSpec


def one(security: str = "lls") -> Simulator:
    return Simulator(Population.build(1, security=security), keep_events=True)  # type: ignore[arg-type]


def services(simulator: Simulator, name: str) -> int:
    return sum(isinstance(event, ServiceAnswered) and event.service == name for event in simulator.events)


async def test_no_change_after_the_task_was_cancelled() -> None:
    async with one() as simulator:
        (document,) = simulator.device_records()
        checkpoint = ScriptedCheckpoint(change=lambda: False)
        outcome = await execute(meter_of(document), "SET_TOU", set_tou(), checkpoint=checkpoint)
        assert outcome.kind is OutcomeKind.GIVEN_BACK
        assert outcome.detail == "the task was cancelled"
        assert services(simulator, "set") == 0
        assert any(isinstance(event, AssociationReleased) for event in simulator.events)


async def test_changes_are_asked_for_once() -> None:
    async with one() as simulator:
        (document,) = simulator.device_records()
        checkpoint = ScriptedCheckpoint()
        outcome = await execute(meter_of(document), "SET_TOU", set_tou(), checkpoint=checkpoint)
        assert outcome.how is How.DONE
        assert checkpoint.changes == 1
        assert checkpoint.sends > 12


async def test_reading_asks_for_no_change() -> None:
    async with one() as simulator:
        (document,) = simulator.device_records()
        checkpoint = ScriptedCheckpoint(change=lambda: False)
        assert (await execute(meter_of(document), checkpoint=checkpoint)).how is How.DONE
        assert checkpoint.changes == 0


async def test_a_lost_lease_before_connecting() -> None:
    async with one() as simulator:
        (document,) = simulator.device_records()
        checkpoint = ScriptedCheckpoint(sends_left=lambda sends: False)
        outcome = await execute(meter_of(document), checkpoint=checkpoint)
        assert (outcome.kind, outcome.detail) == (OutcomeKind.GIVEN_BACK, "the lease ran out")
        assert not any(isinstance(event, SessionOpened) for event in simulator.events)


async def test_a_lost_lease_while_reading_sends_nothing_more() -> None:
    async with one() as simulator:
        (document,) = simulator.device_records()
        checkpoint = ScriptedCheckpoint(sends_left=lambda sends: sends <= 3)
        outcome = await execute(meter_of(document), "GET_TOU", checkpoint=checkpoint)
        assert outcome.kind is OutcomeKind.GIVEN_BACK
        assert services(simulator, "get") == 1
        assert not any(isinstance(event, AssociationReleased) for event in simulator.events)


async def test_a_lost_lease_after_a_change_is_no_give_back() -> None:
    async with one() as simulator:
        (document,) = simulator.device_records()
        # connect, AARQ, identity, control state, mode, output, ACTION; then the lease is over
        checkpoint = ScriptedCheckpoint(sends_left=lambda sends: sends <= 7)
        outcome = await execute(meter_of(document), "DISCONNECT", checkpoint=checkpoint)
        assert (outcome.kind, outcome.error) == (OutcomeKind.FAILED, ErrorWord.OUTCOME_UNKNOWN)
        assert outcome.phase is Phase.CHANGING
        assert sum(isinstance(event, ActionExecuted) for event in simulator.events) == 1


async def test_a_change_that_still_waits_for_the_line_was_not_sent() -> None:
    population = Population.build(1, security="lls", hdlc=HdlcSpec())
    async with Simulator(population, keep_events=True) as simulator:
        (document,) = simulator.device_records()
        document["connection"]["hdlc"]["frameDelaySeconds"] = 0.02
        # As above with SNRM, and each asked for when it is made and when it is written: the 15th is the ACTION written.
        for allowed in range(12, 16):
            before = sum(isinstance(event, ActionExecuted) for event in simulator.events)
            checkpoint = ScriptedCheckpoint(sends_left=allowed.__ge__)
            by = driver(timeouts=PATIENT)
            outcome = await execute(meter_of(document), "DISCONNECT", by=by, checkpoint=checkpoint)
            executed = sum(isinstance(event, ActionExecuted) for event in simulator.events) - before
            assert checkpoint.changes == (allowed >= 13)
            if allowed < 15:
                assert (outcome.kind, outcome.detail, executed) == (OutcomeKind.GIVEN_BACK, "the lease ran out", 0)
            else:
                assert (outcome.error, outcome.phase, executed) == (ErrorWord.OUTCOME_UNKNOWN, Phase.CHANGING, 1)


async def test_a_store_that_can_not_reserve_counters_gives_back() -> None:
    async with one("hls-gmac") as simulator:
        (document,) = simulator.device_records()
        store = MemoryCounterStore()
        store.error = Unavailable("the database is locked")
        outcome = await execute(meter_of(document), by=driver(store=store))
        assert outcome.kind is OutcomeKind.GIVEN_BACK
        assert outcome.detail == "no invocation counters could be reserved: the database is locked"
        assert not any(isinstance(event, SessionOpened) for event in simulator.events)


async def test_exhausted_counters() -> None:
    async with one("hls-gmac") as simulator:
        (document,) = simulator.device_records()
        outcome = await execute(meter_of(document), by=driver(store=MemoryCounterStore(first=2**32 - 5)))
        assert (outcome.error, outcome.phase) == (ErrorWord.INVOCATION_COUNTER_ERROR, Phase.BEFORE_ASSOCIATION)
        assert outcome.detail is not None
        assert "the key must be changed" in outcome.detail
