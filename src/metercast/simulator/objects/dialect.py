"""The object model of a meter with a dialect: the usual objects, spoken otherwise."""

from collections.abc import Callable
from functools import cache
from typing import Final

from msgspec.structs import replace

from metercast.dlms.cosem import Selection
from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import NO_DEVIATION, CosemDateTime
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import DataAccessResult
from metercast.simulator.calendar import SEASONS, WEEKS
from metercast.simulator.dialect import Dialect
from metercast.simulator.objects.base import Attribute, Caller, Invoker, Refusal, constant
from metercast.simulator.objects.model import ObjectModel
from metercast.simulator.state import MeterState

CLOCK, PROFILE, CALENDAR, SPECIAL_DAYS, LIMITER = 8, 7, 20, 11, 71
_TIME_ZONE: Final = 3
_PASSIVE: Final = range(6, 10)
_BY_RANGE: Final = 1
_TAGS: Final = {12: Tag.DATE_TIME, 5: Tag.DATE, 4: Tag.TIME}

Change = Callable[[Data], Data]


class DialectModel(ObjectModel):
    """Translates names, dates and bounds on the way in and out, and refuses what this model does not take."""

    def __init__(self, usual: ObjectModel, dialect: Dialect) -> None:
        super().__init__(())
        self._usual = usual
        self._dialect = dialect
        self._here = {there: usual_name for usual_name, there in dialect.moved}
        self._gone = dict(dialect.moved)

    def attribute(self, client_sap: int, class_id: int, logical_name: LogicalName, index: int) -> Attribute:
        usual_name = self._usual_name(logical_name)
        found = self._usual.attribute(client_sap, class_id, usual_name, index)
        if index == 1:
            return constant(Data.octets(logical_name))
        if class_id not in (CLOCK, PROFILE, CALENDAR, SPECIAL_DAYS, LIMITER):
            return found
        return self._spoken(found, class_id, index)

    def method(self, client_sap: int, class_id: int, logical_name: LogicalName, index: int) -> Invoker:
        found = self._usual.method(client_sap, class_id, self._usual_name(logical_name), index)
        if class_id not in (CLOCK, SPECIAL_DAYS):
            return found
        return lambda state, parameter: found(state, self._dates(parameter, class_id, 2, self._heard))

    def object_list(self, client_sap: int) -> Data:
        listed = []
        for entry in self._usual.object_list(client_sap).value:
            class_id, version, name, rights = entry.value
            here = self._gone.get(LogicalName(name.value), name.value)
            listed.append(Data.structure([class_id, version, Data.octets(here), rights]))
        return Data.array(listed)

    def _usual_name(self, logical_name: LogicalName) -> LogicalName:
        if logical_name in self._gone:
            raise Refusal(DataAccessResult.OBJECT_UNDEFINED)
        return self._here.get(logical_name, logical_name)

    def _spoken(self, found: Attribute, class_id: int, index: int) -> Attribute:
        read, write, select = found.read, found.write, found.select

        def spoken_read(state: MeterState, caller: Caller) -> Data:
            assert read is not None
            return self._dates(read(state, caller), class_id, index, self._told)

        def spoken_write(state: MeterState, value: Data) -> None:
            assert write is not None
            heard = self._dates(value, class_id, index, self._heard)
            if class_id == CALENDAR and index in _PASSIVE:
                self._check_calendar(state, index - _PASSIVE.start, heard)
            write(state, heard)

        def spoken_select(state: MeterState, caller: Caller, selection: Selection) -> Data:
            assert select is not None
            rows = select(state, caller, self._selection(selection))
            return self._dates(rows, class_id, index, self._told)

        return Attribute(
            spoken_read if read is not None else None,
            spoken_write if write is not None else None,
            spoken_select if select is not None else None,
        )

    # Dates: where they stand in an attribute, and how they are told and heard.

    def _dates(self, data: Data, class_id: int, index: int, change: Change) -> Data:
        if class_id == CALENDAR:
            if index in (3, 7):
                return _rows(data, lambda row: _part(row, 1, change))
            if index in (5, 9):
                return _rows(
                    data, lambda row: _part(row, 1, lambda day: _rows(day, lambda each: _part(each, 0, change)))
                )
            return change(data) if index == 10 else data
        if class_id == SPECIAL_DAYS:
            return (
                _part(data, 1, change) if data.tag is Tag.STRUCTURE else _rows(data, lambda row: _part(row, 1, change))
            )
        if class_id == CLOCK and index == _TIME_ZONE and self._dialect.deviation_inverted and data.tag is Tag.LONG:
            return Data.long(-data.value)
        return _everywhere(data, change)

    def _told(self, data: Data) -> Data:
        if data.tag is not Tag.OCTET_STRING or len(data.value) not in _TAGS:
            return data
        value = self._turned(data.value)
        return Data(_TAGS[len(value)], value) if self._dialect.own_date_tags else Data.octets(value)

    def _heard(self, data: Data) -> Data:
        if data.tag in _TAGS.values():
            if not self._dialect.own_date_tags:
                raise Refusal(DataAccessResult.TYPE_UNMATCHED)
            return Data.octets(self._turned(data.value))
        if data.tag is not Tag.OCTET_STRING or len(data.value) not in _TAGS:
            return data
        if self._dialect.own_date_tags:
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        return Data.octets(self._turned(data.value))

    def _turned(self, octets: bytes) -> bytes:
        """A date-time with its deviation's sign turned, where this model's is inverted."""
        if len(octets) != 12 or not self._dialect.deviation_inverted:
            return octets
        moment = CosemDateTime.decode(octets)
        return octets if moment.deviation == NO_DEVIATION else replace(moment, deviation=-moment.deviation).encode()

    def _selection(self, selection: Selection) -> Selection:
        ranges = self._dialect.ranges
        if selection.selector != _BY_RANGE:
            return selection
        if ranges == "refused":
            raise Refusal(DataAccessResult.OTHER_REASON)

        def bound(data: Data) -> Data:
            moment = CosemDateTime.decode(self._turned(data.octet_string(12)))
            if ranges != "deviation":
                moment = replace(moment, deviation=0 if ranges == "utc" else NO_DEVIATION)
            return Data.octets(moment.encode())

        try:
            restricting, first, last, columns = selection.parameters.elements(4)
            return Selection(_BY_RANGE, Data.structure([restricting, bound(first), bound(last), columns]))
        except DecodeError:
            raise Refusal(DataAccessResult.TYPE_UNMATCHED) from None

    # Calendars.

    def _check_calendar(self, state: MeterState, part: int, value: Data) -> None:
        """What the usual meter does not look at when a part is written."""
        dialect = self._dialect
        rows = value.value if value.tag is Tag.ARRAY else []
        if dialect.most_rows is not None and len(rows) > dialect.most_rows:
            raise Refusal(DataAccessResult.OTHER_REASON)
        if part not in (SEASONS, WEEKS):
            return
        try:
            keys = [row.elements()[0].octet_string() for row in rows]
            refers = (
                [row.elements()[2] for row in rows] if part == SEASONS else [d for r in rows for d in r.elements()[1:]]
            )
        except (DecodeError, IndexError):
            raise Refusal(DataAccessResult.TYPE_UNMATCHED) from None
        if dialect.one_digit_names and not all(len(key) == 1 and key.isdigit() for key in keys):
            raise Refusal(DataAccessResult.OTHER_REASON)
        there = [row.value[0].value for row in state.calendar.passive(part + 1).value]
        if dialect.checks_references and any(each.value not in there for each in refers):
            raise Refusal(DataAccessResult.OTHER_REASON)


@cache
def dialect_model(usual: ObjectModel, dialect: Dialect) -> ObjectModel:
    """One for all meters of the dialect."""
    return DialectModel(usual, dialect)


def _rows(data: Data, change: Change) -> Data:
    return Data.array([change(row) for row in data.value]) if data.tag is Tag.ARRAY else data


def _part(row: Data, place: int, change: Change) -> Data:
    if row.tag is not Tag.STRUCTURE or len(row.value) <= place:
        return row
    return Data.structure([change(part) if index == place else part for index, part in enumerate(row.value)])


def _everywhere(data: Data, change: Change) -> Data:
    if data.tag in (Tag.ARRAY, Tag.STRUCTURE):
        return Data(data.tag, [_everywhere(each, change) for each in data.value])
    return change(data)
