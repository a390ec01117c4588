"""DISCONNECT and RECONNECT under every control mode (catalogue 1.8)."""

from typing import Any

import pytest
from tests.commands.fake_session import NOW, FakeSession, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.domain.outcome import How, Phase
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord
from metercast.simulator.relay import ControlState, Relay


class RelayMeter(FakeSession):
    """The simulator's relay, with its own tables of transitions, behind a fake session."""

    def __init__(self, mode: int, state: int) -> None:
        super().__init__({})
        self.relay = Relay(4, ControlState(state))
        self.relay.mode = mode
        self.relay.state = ControlState(state)
        self.delay = 0
        self.actions["70/1"] = lambda parameter: self._switch(parameter, self.relay.remote_disconnect)
        self.actions["70/2"] = lambda parameter: self._switch(parameter, self.relay.remote_reconnect)
        self.on_sleep = self._later
        self.pending: Any = None

    def _switch(self, parameter: Data | None, switch: Any) -> None:
        assert parameter == Data.integer(0)
        if self.delay:
            self.pending = switch
        else:
            switch()

    def _later(self) -> None:
        if self.pending is not None and len(self.slept) == self.delay:
            self.pending()

    def value_of(self, attribute: CosemAttribute) -> Data:
        values = {
            2: Data.boolean(self.relay.output),
            3: Data.enum(self.relay.state),
            4: Data.enum(self.relay.mode),
        }
        return values[attribute.index]


async def test_golden_apdus() -> None:
    session = RelayMeter(4, 1)
    await run(session, "DISCONNECT")
    await run(session, "RECONNECT")
    changes = [apdu for apdu in session.apdus if apdu.startswith("c3")]
    assert changes == ["c301c10046000060030aff01010f00", "c301c10046000060030aff02010f00"]


@pytest.mark.parametrize("mode", range(1, 8))
@pytest.mark.parametrize("state", [1, 2])
async def test_disconnect_ends_disconnected_in_every_mode(mode: int, state: int) -> None:
    session = RelayMeter(mode, state)
    outcome = await run(session, "DISCONNECT")
    assert outcome.how is How.DONE
    assert session.relay.state is ControlState.DISCONNECTED
    assert session.log == ["get 70/3", "get 70/4", "get 70/2", "action 70/1", "get 70/3", "get 70/2"]
    assert outcome.result["after"] == {"controlState": "disconnected", "controlMode": mode, "outputState": False}


@pytest.mark.parametrize("mode", range(1, 8))
async def test_disconnected_already(mode: int) -> None:
    session = RelayMeter(mode, 0)
    outcome = await run(session, "DISCONNECT")
    assert (outcome.how, outcome.phase) == (How.ALREADY_SO, Phase.READING)
    assert session.changes == []


@pytest.mark.parametrize(
    ("mode", "how"),
    [
        (1, How.ARMED),
        (2, How.DONE),
        (3, How.ARMED),
        (4, How.DONE),
        (5, How.ARMED),
        (6, How.ARMED),
        (7, How.DONE),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
async def test_reconnect_of_a_disconnected_meter(mode: int, how: How, verify: bool) -> None:
    session = RelayMeter(mode, 0)
    outcome = await run(session, "RECONNECT", {"verify": verify})
    assert outcome.how is how
    assert session.changes == ["action 70/2"]
    assert session.relay.state == (1 if how is How.DONE else 2)
    assert (outcome.result["after"] is None) is not verify


@pytest.mark.parametrize(
    ("mode", "how", "changes"),
    [(1, How.ARMED, 0), (2, How.ARMED, 0), (4, How.ARMED, 0), (6, How.ARMED, 0), (7, How.DONE, 1)],
)
async def test_reconnect_of_a_meter_that_waits_for_the_button(mode: int, how: How, changes: int) -> None:
    session = RelayMeter(mode, 2)
    outcome = await run(session, "RECONNECT")
    assert outcome.how is how
    assert len(session.changes) == changes


async def test_connected_already() -> None:
    session = RelayMeter(4, 1)
    assert (await run(session, "RECONNECT")).how is How.ALREADY_SO
    assert session.changes == []


@pytest.mark.parametrize("name", ["DISCONNECT", "RECONNECT"])
async def test_mode_0_is_not_switchable(name: str) -> None:
    session = RelayMeter(0, 1)
    with pytest.raises(StepFailed) as caught:
        await run(session, name)
    assert caught.value.error is ErrorWord.NOT_SWITCHABLE
    assert session.changes == []


async def test_verification_waits_for_a_slow_relay() -> None:
    session = RelayMeter(4, 1)
    session.delay = 4
    outcome = await run(session, "DISCONNECT")
    assert outcome.how is How.DONE
    assert session.slept == [2.0] * 4


async def test_a_relay_that_does_not_move_fails_verification_and_is_asked_once() -> None:
    session = RelayMeter(4, 1)
    session.delay = 99
    with pytest.raises(StepFailed) as caught:
        await run(session, "DISCONNECT")
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert caught.value.result["after"]["controlState"] == "connected"
    assert session.changes == ["action 70/1"]
    assert session.slept == [2.0] * 4


async def test_without_verification_nothing_is_read_after() -> None:
    session = RelayMeter(4, 1)
    outcome = await run(session, "DISCONNECT", {"verify": False})
    assert outcome.how is How.DONE
    assert session.log[-1] == "action 70/1"


class Contradiction(RelayMeter):
    def value_of(self, attribute: CosemAttribute) -> Data:
        return Data.boolean(True) if attribute.index == 2 else super().value_of(attribute)


async def test_an_output_that_contradicts_the_state_is_not_disconnected() -> None:
    session = Contradiction(4, 0)
    with pytest.raises(StepFailed) as caught:
        await run(session, "DISCONNECT")
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert session.changes == ["action 70/1"]


async def test_a_meter_that_does_not_show_its_output() -> None:
    session = RelayMeter(4, 1)
    session.fail["get 70/2"] = MeterRefused(ErrorWord.READ_WRITE_DENIED, "denied")
    outcome = await run(session, "DISCONNECT")
    assert outcome.how is How.DONE
    assert outcome.result["after"]["outputState"] is None


@pytest.mark.parametrize("service", ["get 70/3", "get 70/4", "action 70/1"])
async def test_a_refusal_is_told_with_its_word(service: str) -> None:
    session = RelayMeter(4, 1)
    session.fail[service] = MeterRefused(ErrorWord.READ_WRITE_DENIED, "denied")
    with pytest.raises(StepFailed) as caught:
        await run(session, "DISCONNECT")
    assert caught.value.error is ErrorWord.READ_WRITE_DENIED
    assert session.relay.state is ControlState.CONNECTED


async def test_a_lost_answer_is_ambiguous_and_the_next_session_finds_out() -> None:
    session = RelayMeter(4, 1)
    session.fail["action 70/1"] = StepFailed(ErrorWord.TIMEOUT, "no answer")
    with pytest.raises(StepFailed):
        await run(session, "DISCONNECT")
    session.fail.clear()
    session.relay.remote_disconnect()
    assert (await run(session, "DISCONNECT")).how is How.ALREADY_SO
    assert session.relay.switched == 1


def test_traits() -> None:
    disconnect, reconnect = command_type("DISCONNECT").traits, command_type("RECONNECT").traits
    assert (disconnect.resend, reconnect.resend) == (Resend.VERIFY, Resend.VERIFY)
    assert disconnect.needs_identity
    assert reconnect.needs_identity
    assert disconnect.expires_after.total_seconds() == 900
    assert disconnect.max_devices == 1000
    assert reconnect.max_devices is None
    assert disconnect.conflict_group is reconnect.conflict_group


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"verify": "yes"}, "commandParams.verify"),
        ({"reason": "x" * 257}, "commandParams.reason"),
        ({"target": "connected"}, "commandParams.target"),
    ],
)
def test_parameters_that_are_refused(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_parameters(command_type("DISCONNECT"), raw, NOW)
    assert caught.value.path == path
