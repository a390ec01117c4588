"""Class 70, disconnect control (catalogue 1.8)."""

from metercast.dlms.data import Data, Tag
from metercast.dlms.results import DataAccessResult
from metercast.simulator.events import DISCONNECTOR_LOG, REMOTE_CONNECTION, REMOTE_DISCONNECTION
from metercast.simulator.objects.base import Attribute, CosemObject, Refusal, name
from metercast.simulator.relay import NotSwitchable
from metercast.simulator.state import MeterState

DISCONNECT_CONTROL = name("0.0.96.3.10.255")


def _set_mode(state: MeterState, value: Data) -> None:
    if value.tag is not Tag.ENUM:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    try:
        state.relay.mode = value.value
    except ValueError:
        raise Refusal(DataAccessResult.OTHER_REASON) from None


def _remote(state: MeterState, parameter: Data, connect: bool) -> None:
    if parameter.tag is not Tag.INTEGER:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    try:
        if connect:
            state.relay.remote_reconnect()
        else:
            state.relay.remote_disconnect()
    except NotSwitchable:
        raise Refusal(DataAccessResult.OTHER_REASON) from None
    state.note(DISCONNECTOR_LOG, REMOTE_CONNECTION if connect else REMOTE_DISCONNECTION)


def disconnect_control() -> CosemObject:
    return CosemObject(
        70,
        0,
        DISCONNECT_CONTROL,
        {
            2: Attribute(lambda state, caller: Data.boolean(state.relay.output)),
            3: Attribute(lambda state, caller: Data.enum(state.relay.state)),
            4: Attribute(lambda state, caller: Data.enum(state.relay.mode), _set_mode),
        },
        {
            1: lambda state, parameter: _remote(state, parameter, connect=False),
            2: lambda state, parameter: _remote(state, parameter, connect=True),
        },
    )
