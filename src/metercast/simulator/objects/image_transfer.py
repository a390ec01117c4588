"""Class 18, image transfer, with the script and the schedule that activate at a time (catalogue 1.10)."""

from collections.abc import Callable
from datetime import datetime

from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import CosemDate, CosemTime
from metercast.dlms.errors import EncodeError
from metercast.dlms.results import DataAccessResult
from metercast.simulator.firmware import InProgress, NotNow
from metercast.simulator.objects.base import Attribute, CosemObject, Invoker, Refusal, constant, name
from metercast.simulator.shape import ArrayOf, OctetsOf, Shape, StructureOf, matches
from metercast.simulator.state import MeterState

IMAGE_TRANSFER = name("0.0.44.0.0.255")
ACTIVATION_SCRIPTS = name("0.0.10.0.107.255")
ACTIVATION_SCHEDULE = name("0.0.15.0.2.255")
_ACTIVATE = 1
_INITIATE = StructureOf((Tag.OCTET_STRING, Tag.DOUBLE_LONG_UNSIGNED))
_BLOCK = StructureOf((Tag.DOUBLE_LONG_UNSIGNED, Tag.OCTET_STRING))
_TIMES = ArrayOf(StructureOf((OctetsOf(4), OctetsOf(5))))


def image_transfer() -> CosemObject:
    return CosemObject(
        18,
        0,
        IMAGE_TRANSFER,
        {
            2: Attribute(lambda state, caller: Data.double_long_unsigned(state.firmware.block_size)),
            3: Attribute(lambda state, caller: Data.bit_string(state.firmware.received)),
            4: Attribute(lambda state, caller: Data.double_long_unsigned(state.firmware.first_missing)),
            5: Attribute(lambda state, caller: Data.boolean(state.firmware.enabled), _enable),
            6: Attribute(lambda state, caller: Data.enum(state.firmware.status)),
            7: Attribute(lambda state, caller: Data.array(_to_activate(state))),
        },
        {
            1: _invoker(_INITIATE, _initiate),
            2: _invoker(_BLOCK, _take),
            3: _invoker(Tag.INTEGER, lambda state, parameter: state.firmware.verify()),
            4: _invoker(Tag.INTEGER, lambda state, parameter: state.firmware.activate()),
        },
    )


def image_activation() -> tuple[CosemObject, CosemObject]:
    """The script table whose script 1 activates, and the single action schedule that runs it."""
    action = Data.structure(
        [Data.enum(2), Data.long_unsigned(18), Data.octets(IMAGE_TRANSFER), Data.integer(4), Data.integer(0)]
    )
    scripts = Data.array([Data.structure([Data.long_unsigned(_ACTIVATE), Data.array([action])])])

    def execute(state: MeterState, parameter: Data) -> None:
        if parameter.value != _ACTIVATE:
            raise Refusal(DataAccessResult.OTHER_REASON)
        state.firmware.activate()

    table = CosemObject(9, 0, ACTIVATION_SCRIPTS, {2: constant(scripts)}, {1: _invoker(Tag.LONG_UNSIGNED, execute)})
    executed = constant(Data.structure([Data.octets(ACTIVATION_SCRIPTS), Data.long_unsigned(_ACTIVATE)]))
    schedule = CosemObject(
        22,
        0,
        ACTIVATION_SCHEDULE,
        {2: executed, 3: constant(Data.enum(1)), 4: Attribute(lambda state, caller: _planned(state), _plan)},
    )
    return table, schedule


def _invoker(shape: Shape, run: Callable[[MeterState, Data], None]) -> Invoker:
    """Refuses a parameter of another type, and says what the state forbids."""

    def invoke(state: MeterState, parameter: Data) -> Data | None:
        if not matches(parameter, shape):
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        try:
            run(state, parameter)
        except InProgress:
            raise Refusal(DataAccessResult.TEMPORARY_FAILURE) from None
        except NotNow:
            raise Refusal(DataAccessResult.OTHER_REASON) from None
        return None

    return invoke


def _enable(state: MeterState, value: Data) -> None:
    if value.tag is not Tag.BOOLEAN:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    state.firmware.enabled = value.value


def _initiate(state: MeterState, parameter: Data) -> None:
    identifier, size = parameter.value
    state.firmware.initiate(identifier.value, size.value)


def _take(state: MeterState, parameter: Data) -> None:
    number, octets = parameter.value
    state.firmware.take(number.value, octets.value)


def _to_activate(state: MeterState) -> list[Data]:
    found = state.firmware.to_activate
    if found is None:
        return []
    size, identification, signature = found
    return [Data.structure([Data.double_long_unsigned(size), Data.octets(identification), Data.octets(signature)])]


def _plan(state: MeterState, value: Data) -> None:
    """One time, whole, in the meter's own zone; an empty array takes it away."""
    if not matches(value, _TIMES) or len(value.value) > 1:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    if not value.value:
        state.firmware.at = None
        return
    time, date = (each.value for each in value.value[0].value)
    hour, minute, second, _ = CosemTime.decode(time)
    day = CosemDate.decode(date)
    try:
        day.check()
        moment = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=state.clock.rules)
    except (EncodeError, ValueError):
        raise Refusal(DataAccessResult.OTHER_REASON) from None
    state.firmware.at = moment.timestamp()


def _planned(state: MeterState) -> Data:
    if state.firmware.at is None:
        return Data.array([])
    moment = datetime.fromtimestamp(state.firmware.at, state.clock.rules)
    time = CosemTime(moment.hour, moment.minute, moment.second, 0)
    date = CosemDate(moment.year, moment.month, moment.day, moment.isoweekday())
    return Data.array([Data.structure([Data.octets(time.encode()), Data.octets(date.encode())])])
