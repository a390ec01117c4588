"""Class 20, activity calendar (catalogue 1.1)."""

from collections.abc import Iterator
from contextlib import contextmanager

from metercast.dlms.data import Data, Tag
from metercast.dlms.results import DataAccessResult
from metercast.simulator.calendar import PARTS, WrongType, WrongValue
from metercast.simulator.objects.base import Attribute, CosemObject, Refusal, name
from metercast.simulator.shape import OctetsOf, matches
from metercast.simulator.state import MeterState

ACTIVITY_CALENDAR = name("0.0.13.0.0.255")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except WrongType:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED) from None
    except WrongValue:
        raise Refusal(DataAccessResult.OTHER_REASON) from None


def _active(part: int) -> Attribute:
    return Attribute(lambda state, caller: state.calendar.active(part))


def _passive(part: int) -> Attribute:
    def write(state: MeterState, value: Data) -> None:
        with _refusals():
            state.calendar.write_passive(part, value)

    return Attribute(lambda state, caller: state.calendar.passive(part), write)


def _arm(state: MeterState, value: Data) -> None:
    if not matches(value, OctetsOf(12)):
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    with _refusals():
        state.calendar.arm(value.value, state.clock.rules, state.clock.timestamp())
    state.refresh()


def _activate(state: MeterState, parameter: Data) -> None:
    if parameter.tag is not Tag.INTEGER:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    with _refusals():
        state.calendar.activate()


def activity_calendar() -> CosemObject:
    return CosemObject(
        20,
        0,
        ACTIVITY_CALENDAR,
        {
            **{2 + part: _active(part) for part in PARTS},
            **{6 + part: _passive(part) for part in PARTS},
            10: Attribute(lambda state, caller: Data.octets(state.calendar.armed), _arm),
        },
        {1: _activate},
    )
