"""Class 7, profile generic: a load profile of quarter hours, and event logs; selective access (catalogue 1.6, 1.7)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from metercast.dlms.cosem import Selection
from metercast.dlms.data import Data
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import DataAccessResult
from metercast.simulator.events import DISCONNECTOR_LOG, STANDARD_LOG
from metercast.simulator.objects.base import Attribute, Caller, CosemObject, Refusal, constant, name
from metercast.simulator.objects.clock import CLOCK, clock_data
from metercast.simulator.state import MeterState

LOAD_PROFILE = name("1.0.99.1.0.255")
PERIOD_SECONDS: Final = 900
LOAD_ENTRIES: Final = 12_000
_FIFO: Final = 1
_BY_RANGE, _BY_ENTRY = 1, 2


class _Row(NamedTuple):
    timestamp: float
    cells: tuple[Data, ...]  # behind the time


class _Profile(NamedTuple):
    """`count` rows there are now; `rows` gives those from a number, 0 the oldest, to before another."""

    columns: tuple[Data, ...]
    count: Callable[[MeterState], int]
    rows: Callable[[MeterState, int, int], Iterator[_Row]]
    first_since: Callable[[MeterState, float], int]  # the number of the oldest row of a time or later

    def read(self, state: MeterState, caller: Caller) -> Data:
        return self._data(state, 0, self.count(state), 1, len(self.columns))

    def select(self, state: MeterState, caller: Caller, selection: Selection) -> Data:
        try:
            if selection.selector == _BY_RANGE:
                return self._range(state, selection.parameters)
            if selection.selector == _BY_ENTRY:
                return self._entries(state, selection.parameters)
        except DecodeError:
            raise Refusal(DataAccessResult.TYPE_UNMATCHED) from None
        raise Refusal(DataAccessResult.OTHER_REASON)

    def _range(self, state: MeterState, parameters: Data) -> Data:
        restricting, first, last, columns = parameters.elements(4)
        if restricting != self.columns[0] or columns.elements():
            raise Refusal(DataAccessResult.OTHER_REASON)
        start = self.first_since(state, _timestamp(state, first))
        end = self.first_since(state, _timestamp(state, last) + 0.01)
        return self._data(state, start, end, 1, len(self.columns))

    def _entries(self, state: MeterState, parameters: Data) -> Data:
        first, last, first_column, last_column = (each.number() for each in parameters.elements(4))
        count, columns = self.count(state), len(self.columns)
        if first < 1 or last < 0 or not 1 <= first_column <= columns or not 0 <= last_column <= columns:
            raise Refusal(DataAccessResult.OTHER_REASON)
        return self._data(state, first - 1, min(last or count, count), first_column, last_column or columns)

    def _data(self, state: MeterState, start: int, end: int, first_column: int, last_column: int) -> Data:
        rules = state.clock.rules
        rows = []
        for row in self.rows(state, start, end):
            cells = (clock_data(rules, row.timestamp), *row.cells)
            rows.append(Data.structure(cells[first_column - 1 : last_column]))
        return Data.array(rows)


def _timestamp(state: MeterState, value: Data) -> float:
    moment = CosemDateTime.decode(value.octet_string(12))
    return moment.to_datetime(zone=state.clock.rules).timestamp()


def _column(class_id: int, logical_name: LogicalName, index: int = 2) -> Data:
    return Data.structure(
        [Data.long_unsigned(class_id), Data.octets(logical_name), Data.integer(index), Data.long_unsigned(0)]
    )


def _object(logical_name: LogicalName, profile: _Profile, period: int, entries: int) -> CosemObject:
    return CosemObject(
        7,
        1,
        logical_name,
        {
            2: Attribute(profile.read, select=profile.select),
            3: constant(Data.array(profile.columns)),
            4: constant(Data.double_long_unsigned(period)),
            5: constant(Data.enum(_FIFO)),
            6: constant(profile.columns[0]),
            7: Attribute(lambda state, caller: Data.double_long_unsigned(profile.count(state))),
            8: constant(Data.double_long_unsigned(entries)),
        },
    )


def _last_quarter(state: MeterState) -> int:
    return int(state.clock.timestamp() // PERIOD_SECONDS)


def _load_rows(state: MeterState, start: int, end: int) -> Iterator[_Row]:
    oldest = _last_quarter(state) - LOAD_ENTRIES + 1
    for number in range(max(start, 0), min(end, LOAD_ENTRIES)):
        timestamp = (oldest + number) * PERIOD_SECONDS
        imported, exported = state.energy.counted(timestamp, 1.0), state.energy.counted(timestamp, 0.02)
        yield _Row(timestamp, (Data.double_long_unsigned(imported), Data.double_long_unsigned(exported)))


def _load_since(state: MeterState, timestamp: float) -> int:
    oldest = _last_quarter(state) - LOAD_ENTRIES + 1
    return max(0, min(int(-(-timestamp // PERIOD_SECONDS)) - oldest, LOAD_ENTRIES))


def load_profile() -> CosemObject:
    """Energies in and out at every quarter hour, as far back as it keeps them."""
    columns = (_column(8, CLOCK), _column(3, name("1.0.1.8.0.255")), _column(3, name("1.0.2.8.0.255")))
    profile = _Profile(columns, lambda state: LOAD_ENTRIES, _load_rows, _load_since)
    return _object(LOAD_PROFILE, profile, PERIOD_SECONDS, LOAD_ENTRIES)


def _event_log(log: int) -> CosemObject:
    def rows(state: MeterState, start: int, end: int) -> Iterator[_Row]:
        for event in state.events.of(log)[start:end]:
            yield _Row(event.timestamp, (Data.unsigned(event.code),))

    def since(state: MeterState, timestamp: float) -> int:
        # The oldest of that time or later; a clock that was set back leaves the order of the log as it is.
        events = state.events.of(log)
        return next((number for number, event in enumerate(events) if event.timestamp >= timestamp), len(events))

    columns = (_column(8, CLOCK), _column(1, name(f"0.0.96.11.{log}.255")))
    profile = _Profile(columns, lambda state: len(state.events.of(log)), rows, since)
    return _object(name(f"0.0.99.98.{log}.255"), profile, 0, 500)


def event_logs() -> Sequence[CosemObject]:
    return [_event_log(STANDARD_LOG), _event_log(DISCONNECTOR_LOG)]
