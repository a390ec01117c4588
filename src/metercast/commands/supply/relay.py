"""DISCONNECT and RECONNECT: the supply relay (disconnect control, class 70, catalogue 1.8).

The state is read first, so a command never switches what is already as asked, and a resend is safe.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec

from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, chosen, object_of
from metercast.commands.steps import decoded, poll
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Relay as Modes

CLASS_ID = 70
OUTPUT_STATE, CONTROL_STATE, CONTROL_MODE = 2, 3, 4
REMOTE_DISCONNECT, REMOTE_RECONNECT = 1, 2
DISCONNECTED, CONNECTED, READY_FOR_RECONNECTION = 0, 1, 2
MAX_DEVICES_PER_DISCONNECT = 1000

_STATES = {DISCONNECTED: "disconnected", CONNECTED: "connected", READY_FOR_RECONNECTION: "ready-for-reconnection"}


class Relay(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    verify: bool = True
    reason: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    obis: ProfileObis = None


class RelayState(NamedTuple):
    control_state: int
    control_mode: int
    output_state: bool | None  # None where the meter does not tell

    def to_json(self) -> dict[str, Any]:
        return {
            "controlState": _STATES.get(self.control_state, f"state {self.control_state}"),
            "controlMode": self.control_mode,
            "outputState": self.output_state,
        }


class RelayObject(NamedTuple):
    logical_name: LogicalName

    def attribute(self, index: int) -> CosemAttribute:
        return CosemAttribute(CLASS_ID, self.logical_name, index)

    async def read(self, session: MeterSession) -> RelayState:
        control, mode, output = await self._read(session, CONTROL_STATE, CONTROL_MODE, OUTPUT_STATE)
        return RelayState(self._number(control, CONTROL_STATE), self._number(mode, CONTROL_MODE), self._truth(output))

    async def read_again(self, session: MeterSession, before: RelayState) -> RelayState:
        """State and output anew; the mode does not change by switching."""
        control, output = await self._read(session, CONTROL_STATE, OUTPUT_STATE)
        return RelayState(self._number(control, CONTROL_STATE), before.control_mode, self._truth(output))

    async def _read(self, session: MeterSession, *indexes: int) -> list[Data | MeterRefused]:
        return await session.get_list([self.attribute(index) for index in indexes])

    def _number(self, result: Data | MeterRefused, index: int) -> int:
        if isinstance(result, MeterRefused):
            raise result
        return decoded(result, Data.number, self.attribute(index))

    def _truth(self, result: Data | MeterRefused) -> bool | None:
        """None where the output is refused: some meters show the control state only."""
        if isinstance(result, MeterRefused):
            return None
        return decoded(result, Data.truth, self.attribute(OUTPUT_STATE))

    async def switch(self, session: MeterSession, method: int) -> None:
        await session.action(CosemMethod(CLASS_ID, self.logical_name, method), Data.integer(0))


def check(parameters: Relay, now: datetime) -> None:
    check_obis(parameters.obis)


def is_disconnected(state: RelayState) -> bool:
    """In ready-for-reconnection the output is open, but the customer can close it: that is not disconnected."""
    return state.control_state == DISCONNECTED and state.output_state is not True


def is_connected(state: RelayState) -> bool:
    return state.control_state == CONNECTED and state.output_state is not False


def waits_for_button(state: RelayState, modes: Modes) -> bool:
    """Ready for reconnection, and the control mode has no remote way on from there (transition i)."""
    return state.control_state == READY_FOR_RECONNECTION and state.control_mode not in modes.remote_from_ready_modes


def is_armed(state: RelayState, modes: Modes) -> bool:
    """Whether a reconnect came as far as the control mode lets it: the rest is the customer's button."""
    return state.control_state == READY_FOR_RECONNECTION and state.control_mode not in modes.direct_modes


async def disconnect(session: MeterSession, parameters: Relay) -> Outcome:
    relay = RelayObject(chosen(parameters.obis, session.profile.objects.disconnect_control))
    before = await _read_switchable(session, relay)
    if is_disconnected(before):
        return Outcome.already_so({"before": before.to_json(), "after": None})
    await relay.switch(session, REMOTE_DISCONNECT)
    if not parameters.verify:
        return Outcome.done({"before": before.to_json(), "after": None})
    after = await poll(session, lambda: relay.read_again(session, before), is_disconnected)
    result = {"before": before.to_json(), "after": after.to_json()}
    if not is_disconnected(after):
        raise _not_verified("disconnect", after, result)
    return Outcome.done(result)


async def reconnect(session: MeterSession, parameters: Relay) -> Outcome:
    relay = RelayObject(chosen(parameters.obis, session.profile.objects.disconnect_control))
    modes = session.profile.relay
    before = await _read_switchable(session, relay)
    if is_connected(before):
        return Outcome.already_so({"before": before.to_json(), "after": None})
    if waits_for_button(before, modes):
        return Outcome.armed({"before": before.to_json(), "after": None})
    await relay.switch(session, REMOTE_RECONNECT)
    if not parameters.verify:
        result: dict[str, Any] = {"before": before.to_json(), "after": None}
        return Outcome.done(result) if before.control_mode in modes.direct_modes else Outcome.armed(result)
    after = await poll(
        session, lambda: relay.read_again(session, before), lambda state: is_connected(state) or is_armed(state, modes)
    )
    result = {"before": before.to_json(), "after": after.to_json()}
    if is_connected(after):
        return Outcome.done(result)
    if is_armed(after, modes):
        return Outcome.armed(result)
    raise _not_verified("reconnect", after, result)


async def _read_switchable(session: MeterSession, relay: RelayObject) -> RelayState:
    state = await relay.read(session)
    if state.control_mode in session.profile.relay.fixed_modes:
        detail = f"{relay.attribute(CONTROL_MODE)} is {state.control_mode}: the output is always connected"
        raise StepFailed(ErrorWord.NOT_SWITCHABLE, detail, state.to_json())
    return state


def _not_verified(what: str, after: RelayState, result: dict[str, Any]) -> StepFailed:
    shown = after.to_json()
    detail = f"after {what}: control state {shown['controlState']}, output {shown['outputState']}"
    return StepFailed(ErrorWord.VERIFICATION_FAILED, detail, result)


DISCONNECT = CommandType(
    traits=CommandTraits(
        name="DISCONNECT",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.RELAY,
        expires_after=timedelta(minutes=15),
        can_read_back=True,
        needs_identity=True,
        max_devices=MAX_DEVICES_PER_DISCONNECT,
    ),
    parameters=Relay,
    perform=disconnect,
    check=check,
    target=object_of(CLASS_ID, "disconnect_control"),
    summary="Opens the supply relay, unless it is open, and verifies it.",
)

RECONNECT = CommandType(
    traits=CommandTraits(
        name="RECONNECT",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.RELAY,
        expires_after=timedelta(hours=6),
        can_read_back=True,
        needs_identity=True,
    ),
    parameters=Relay,
    perform=reconnect,
    check=check,
    target=object_of(CLASS_ID, "disconnect_control"),
    summary="Closes the supply relay or, where the control mode asks for the customer's button, makes it ready.",
)
