"""Bundles over real sockets: one association, and nothing twice whatever answer is lost."""

from typing import Any

import msgspec
import pytest
from tests.driver.support import QUICK, MemoryCounterStore, ScriptedCheckpoint, command, driver, execute, meter_of
from tests.driver.transports import Tampered

from metercast.domain.meter import Meter
from metercast.domain.outcome import How, Outcome
from metercast.domain.retry import History, RetryPolicy, decide
from metercast.domain.states import DeviceEvent
from metercast.domain.words import ErrorWord
from metercast.driver.dlms import DlmsDriver
from metercast.driver.transport import TcpConnector
from metercast.simulator.log import ActionExecuted, AssociationEstablished
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

MODE = {"class": 70, "obis": "0.0.96.3.10.255", "attribute": 4, "value": {"tag": "enum", "value": 2}}
COMMANDS = [{"command": "READ_CLOCK"}, {"command": "SET", "parameters": MODE}, {"command": "DISCONNECT"}]
BILLING = [{"command": "BILLING_RESET"}, {"command": "READ_EVENTS", "parameters": {"log": 2}}]


def population() -> Population:
    return Population.build(1, security="hls-gmac", clock_offset=0.0)


def ran(simulator: Simulator, class_id: int) -> int:
    return sum(isinstance(event, ActionExecuted) and event.class_id == class_id for event in simulator.events)


def associations(simulator: Simulator) -> int:
    return sum(isinstance(event, AssociationEstablished) for event in simulator.events)


async def to_the_end(meter: Meter, raw: dict[str, Any], by: DlmsDriver, *, killed: bool) -> Outcome:
    """As the engine does it: a session after the other, each with what the one before left in the record.

    `killed`: what the first one would have said at its end is lost with the server; what it settled is not.
    """
    bundle = command("BUNDLE", raw)
    verify_first, progress, used = False, None, 0
    for number in range(1, 8):
        checkpoint = ScriptedCheckpoint(verify_first, progress)
        outcome = await by.execute(bundle, meter, checkpoint)
        if outcome.succeeded:
            return outcome
        crashed = killed and number == 1 and outcome.error is not None
        made = decide(
            outcome, bundle.traits.resend, RetryPolicy(max_attempts=5), History(number, used, 0), live=True,
            can_read_back=bundle.traits.can_read_back, verifying=verify_first and not checkpoint.settled, jitter=0.0,
        )  # fmt: skip
        assert made.event is DeviceEvent.RETRY, outcome
        verify_first, used = crashed or made.verify_first, made.used
        for kept in [*checkpoint.settled[-1:], *([] if crashed or outcome.progress is None else [outcome.progress])]:
            progress = msgspec.json.decode(msgspec.json.encode(kept))
    raise AssertionError("it comes to no end")


async def test_all_of_it_in_one_association() -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        checkpoint = ScriptedCheckpoint()
        raw = {"commands": [*COMMANDS, {"command": "READ_EVENTS", "parameters": {"log": 2}}]}
        outcome = await execute(meter_of(document), "BUNDLE", raw, checkpoint=checkpoint)
        assert outcome.how is How.DONE, outcome.detail
        clock, _, relay, events = outcome.result["commands"]
        assert "differenceSeconds" in clock["result"]
        assert relay["result"]["after"]["controlState"] == "disconnected"
        assert [row[1] for row in events["result"]["rows"]] == ["62"]
        assert associations(simulator) == 1
        assert [len(each["ended"]) for each in checkpoint.settled] == [2, 3]


async def test_it_needs_the_identity_that_a_member_needs() -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        nameless = meter_of(document, serverSystemTitle=None, logicalDeviceName=None)
        outcome = await execute(nameless, "BUNDLE", {"commands": COMMANDS})
        assert outcome.error is ErrorWord.IDENTITY_REQUIRED
        assert associations(simulator) == 0
        assert (await execute(nameless, "BUNDLE", {"commands": COMMANDS[:1]})).how is How.DONE


@pytest.mark.parametrize("killed", [False, True], ids=["lost answer", "killed server"])
@pytest.mark.parametrize("lost", range(1, 25))
async def test_an_answer_that_is_lost_anywhere(lost: int, killed: bool) -> None:
    async with Simulator(population(), keep_events=True) as simulator:
        (document,) = simulator.device_records()
        connector = Tampered(TcpConnector(), lambda data, number: b"" if number == lost else data)
        by = driver(connector, MemoryCounterStore(), QUICK)
        outcome = await to_the_end(meter_of(document), {"commands": [*COMMANDS, *BILLING]}, by, killed=killed)
        assert len(connector.read) > lost, "nothing was lost"
        assert [each["outcome"] for each in outcome.result["commands"]][3:] == ["DONE", "DONE"]
        assert outcome.result["commands"][2]["outcome"] in ("DONE", "ALREADY_SO")
        assert (ran(simulator, 70), ran(simulator, 9)) == (1, 1)
