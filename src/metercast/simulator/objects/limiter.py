"""Class 71, limiter on the active power; which threshold holds follows the emergency profile (catalogue 1.9)."""

from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.errors import DecodeError
from metercast.dlms.results import DataAccessResult
from metercast.simulator.objects.base import Attribute, CosemObject, Refusal, constant, name
from metercast.simulator.shape import ArrayOf, OctetsOf, Shape, StructureOf, matches
from metercast.simulator.state import MeterState

LIMITER = name("0.0.17.0.0.255")
_MONITORED = Data.structure([Data.long_unsigned(3), Data.octets(name("1.0.1.7.0.255")), Data.integer(2)])
_ACTION = Data.structure([Data.octets(name("0.0.10.0.106.255")), Data.long_unsigned(1)])
_SHAPES: dict[int, Shape] = {
    4: Tag.DOUBLE_LONG_UNSIGNED,
    5: Tag.DOUBLE_LONG_UNSIGNED,
    6: Tag.DOUBLE_LONG_UNSIGNED,
    7: Tag.DOUBLE_LONG_UNSIGNED,
    8: StructureOf((Tag.LONG_UNSIGNED, OctetsOf(12), Tag.DOUBLE_LONG_UNSIGNED)),
    9: ArrayOf(Tag.LONG_UNSIGNED),
}


def _is_emergency(state: MeterState) -> bool:
    """The profile is of one of the meter's groups, and its time is now."""
    profile, time, duration = state.limiter[8].value
    if profile not in state.limiter[9].value:
        return False
    try:
        begin = CosemDateTime.decode(time.value).to_datetime(zone=state.clock.rules).timestamp()
    except DecodeError:  # nothing is set
        return False
    return begin <= state.clock.timestamp() < begin + int(duration.value)


def _stored(index: int) -> Attribute:
    def write(state: MeterState, value: Data) -> None:
        if not matches(value, _SHAPES[index]):
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        state.limiter[index] = value

    return Attribute(lambda state, caller: state.limiter[index], write)


def limiter() -> CosemObject:
    active = Attribute(lambda state, caller: state.limiter[5 if _is_emergency(state) else 4])
    emergency = Attribute(lambda state, caller: Data.boolean(_is_emergency(state)))
    actions = constant(Data.structure([_ACTION, _ACTION]))
    stored = {index: _stored(index) for index in _SHAPES}
    return CosemObject(71, 0, LIMITER, {2: constant(_MONITORED), 3: active, **stored, 10: emergency, 11: actions})
