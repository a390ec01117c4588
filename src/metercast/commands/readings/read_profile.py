"""READ_PROFILE and READ_EVENTS: rows of a profile generic, by time or by number (class 7, catalogue 1.6 and 1.7).

A range of time is read in windows, so that no answer is long; a row at the edge of two comes once. Where the
association has no selective access the whole buffer is read and what was asked for is kept of it.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from metercast.commands.clock.clock_object import CLASS_ID as CLOCK_CLASS
from metercast.commands.clock.clock_object import TIME, instant_of
from metercast.commands.contract import CommandType, MeterRefused, MeterSession, SelectionUnavailable, StepFailed
from metercast.commands.known_scales import firmware_to_ask, read_scales
from metercast.commands.parameters import ROOT, Obis, ProfileObis, check_obis, chosen, object_of, require
from metercast.commands.plain import plain
from metercast.commands.readings.profile_object import (
    BUFFER,
    CAPTURE_OBJECTS,
    CAPTURE_PERIOD,
    CLASS_ID,
    DELTAS,
    CaptureObject,
    ProfileObject,
    by_entry,
    by_range,
    decode_columns,
    unpacked_rows,
)
from metercast.commands.readings.profile_progress import ProfileProgress
from metercast.commands.scaler_unit import ScalerUnit, exact, scaler_unit_of
from metercast.commands.steps import decoded, given
from metercast.commands.units import unit_name
from metercast.dlms.cosem import CosemAttribute, Selection
from metercast.dlms.data import Data, Tag
from metercast.dlms.data_types import NUMBERS
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.errors import DlmsError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord
from metercast.profiles.model import NAME_PATTERN, EventLog, Profile

MAX_WINDOWS: Final = 4000
MAX_ROWS: Final = 200_000

LogName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, description="a log of the profile")]
_SHORTEST_WINDOW: Final = timedelta(minutes=1)

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Entries(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Numbers of rows, the first being 1; a `last` of 0 is the last that there is."""

    first: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    last: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0


class Wanted(Protocol):
    """What both commands ask for: rows of a time, of their numbers, or all."""

    @property
    def from_(self) -> datetime | None: ...

    @property
    def to(self) -> datetime | None: ...

    @property
    def entries(self) -> Entries | None: ...

    @property
    def window_hours(self) -> float: ...


class ReadProfile(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    from_: Instant | None = msgspec.field(default=None, name="from")
    to: Instant | None = None
    entries: Entries | None = None
    window_hours: Annotated[float, msgspec.Meta(ge=0.25, le=8784)] = 24
    obis: ProfileObis = None


class ReadEvents(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`log` is e of 0.0.99.98.e.255, or the name of a log in the meter's profile."""

    log: Annotated[int, msgspec.Meta(ge=0, le=255)] | LogName = 0
    from_: Instant | None = msgspec.field(default=None, name="from")
    to: Instant | None = None
    entries: Entries | None = None
    window_hours: Annotated[float, msgspec.Meta(ge=0.25, le=8784)] = 8784
    obis: Obis | None = None


class Column(NamedTuple):
    captured: CaptureObject
    scale: ScalerUnit | None
    is_clock: bool

    def to_json(self) -> dict[str, Any]:
        attribute = self.captured.attribute
        shown: dict[str, Any] = {
            "class": attribute.class_id,
            "obis": str(attribute.logical_name),
            "attribute": attribute.index,
        }
        if self.captured.data_index:
            shown["dataIndex"] = self.captured.data_index
        if self.scale is not None:
            shown |= {"unit": unit_name(self.scale.unit), "scaler": self.scale.scaler}
        return shown


class Row(NamedTuple):
    instant: datetime | None
    cells: list[Any]


def check_profile(parameters: ReadProfile, now: datetime) -> None:
    check_obis(parameters.obis)
    _check_wanted(parameters)


def check_events(parameters: ReadEvents, now: datetime) -> None:
    check_obis(parameters.obis)
    if parameters.obis is not None:
        require(parameters.log == 0, "log", parameters.log, "either log or obis")
    _check_wanted(parameters)


def _check_wanted(parameters: Wanted) -> None:
    first, last = parameters.from_, parameters.to
    for name, value, other in (("from", first, last), ("to", last, first)):
        if value is None and other is not None:
            raise InvalidField(f"{ROOT}.{name}", None, "from and to are given both or not at all")
    if first is None or last is None:
        return
    require(parameters.entries is None, "entries", "given", "either from and to, or entries")
    require(first < last, "to", last.isoformat(), "not after from")
    windows = (last - first) / timedelta(hours=parameters.window_hours)
    require(windows <= MAX_WINDOWS, "windowHours", parameters.window_hours, f"makes more than {MAX_WINDOWS} windows")


async def perform_profile(session: MeterSession, parameters: ReadProfile) -> Outcome:
    return await _perform(session, chosen(parameters.obis, session.profile.objects.load_profile), parameters)


async def perform_events(session: MeterSession, parameters: ReadEvents) -> Outcome:
    name = chosen(parameters.obis, _log_of(session.profile, parameters.log))
    return await _perform(session, name, parameters, session.profile.event_log(name))


def _log_of(profile: Profile, log: int | str) -> LogicalName:
    """StepFailed(ObjectUndefined) where the profile has no log of that name."""
    if isinstance(log, int):
        return LogicalName.parse(f"0.0.99.98.{log}.255")
    if log not in profile.events:
        known = ", ".join(sorted(profile.events)) or "none"
        detail = f"the profile {profile.name} has no event log {log!r}; it has {known}"
        raise StepFailed(ErrorWord.OBJECT_UNDEFINED, detail)
    return profile.events[log].object


async def _perform(session: MeterSession, name: LogicalName, wanted: Wanted, events: EventLog | None = None) -> Outcome:
    profile, obis = ProfileObject(name), str(name)
    attributes = [profile.attribute(CAPTURE_OBJECTS), profile.attribute(CAPTURE_PERIOD)]
    objects, seconds, *firmware = await session.get_list([*attributes, *firmware_to_ask(session)])
    captured = decoded(given(objects), decode_columns, attributes[0])
    period = decoded(given(seconds), Data.number, attributes[1])
    columns = await _columns(session, captured, firmware[0] if firmware else None)
    shown = [column.to_json() for column in columns]
    reader = _Reader(session, profile, columns, period)
    progress = ProfileProgress(session, shown, period)
    try:
        async for part, end in reader.parts(wanted, progress.read_to):
            if await _keep(session, progress, part, end, wanted):
                return Outcome.checkpoint(progress.to_json())
            if len(progress.rows) > MAX_ROWS:
                raise StepFailed(ErrorWord.RESULT_TOO_LARGE, f"{obis} gives more than {MAX_ROWS} rows: ask for fewer")
    except StepFailed as failure:
        failure.progress = progress.to_json()
        raise
    rows = progress.rows
    if events is not None:
        _name_codes(shown, columns, rows, events)
    return Outcome.done({"obis": obis, "capturePeriodSeconds": period, "columns": shown, "rows": rows})


async def _keep(
    session: MeterSession, progress: ProfileProgress, part: list[Row], end: datetime | None, wanted: Wanted
) -> bool:
    """Adds what was read; true where it is time for another session."""
    cells = [row.cells for row in part]
    if end is None or wanted.to is None:
        progress.rows += cells
        return False
    progress.add(cells, max((row.instant for row in part if row.instant is not None), default=None), end)
    if end < wanted.to and progress.is_time_to_end:
        return True
    if end < wanted.to and progress.is_time_to_settle:
        await session.settle(progress.to_json())
    return False


def _name_codes(shown: list[dict[str, Any]], columns: list[Column], rows: list[list[Any]], events: EventLog) -> None:
    """The column of the codes gets the names of those that occur and that the profile knows."""
    for index, column in enumerate(columns):
        if column.captured.attribute == CosemAttribute(1, events.code_object, 2):
            found = {str(row[index]) for row in rows}
            shown[index]["names"] = {code: events.codes[code] for code in sorted(found & events.codes.keys(), key=int)}


async def _columns(
    session: MeterSession, captured: list[CaptureObject], firmware: Data | MeterRefused | None
) -> list[Column]:
    """With scaler and unit where the column is of a register; without where the meter does not tell them."""
    holders = [scaler_unit_of(each.attribute) for each in captured]
    wanted = list(dict.fromkeys(holder for holder in holders if holder is not None))
    scales: dict[CosemAttribute | None, ScalerUnit | None] = {None: None}
    for holder, told in (await read_scales(session, wanted, firmware)).items():
        scales[holder] = None if isinstance(told, MeterRefused) else told
    return [
        Column(each, scales[holder], _is_clock(session.profile, each))
        for each, holder in zip(captured, holders, strict=True)
    ]


def _is_clock(profile: Profile, captured: CaptureObject) -> bool:
    attribute = captured.attribute
    if (attribute.class_id, attribute.index) == (CLOCK_CLASS, TIME):
        return True
    return attribute == CosemAttribute(1, profile.objects.unix_clock, 2)


class _Reader:
    """One profile in one session."""

    def __init__(self, session: MeterSession, profile: ProfileObject, columns: list[Column], period: int) -> None:
        self._session = session
        self._buffer = profile.attribute(BUFFER)
        self._columns = columns
        self._period = timedelta(seconds=period)
        self._zone = ZoneInfo(session.meter.record.time_zone)
        self._profile = session.profile
        self._clock = next((index for index, column in enumerate(columns) if column.is_clock), None)

    async def parts(self, wanted: Wanted, read_to: datetime | None) -> AsyncIterator[tuple[list[Row], datetime | None]]:
        """Rows, and the end of the window that they are of. What is not after `read_to` was read before."""
        first, last = wanted.from_, wanted.to
        if first is None or last is None:
            yield await self._by_entry(wanted.entries), None
            return
        start, after = (first, None) if read_to is None else (read_to, read_to)
        try:
            if not self._profile.buffers.by_range:
                raise SelectionUnavailable(ErrorWord.SERVICE_NOT_SUPPORTED, "the profile has no selection by range")
            window = timedelta(hours=wanted.window_hours)
            while start < last:
                end = min(start + window, last)
                try:
                    rows = await self._rows(self._range(start, end))
                except StepFailed as failure:
                    # Without blocks the answer must fit one PDU: half the time has half the rows.
                    window = (end - start) / 2
                    if failure.error is not ErrorWord.PDU_TOO_LONG or window < max(self._period, _SHORTEST_WINDOW):
                        raise
                    continue
                yield [row for row in rows if _is_within(row, first, last, after)], end
                start = after = end  # that instant was in this window
        except SelectionUnavailable:
            yield [row for row in await self._rows(None) if _is_within(row, first, last, after)], None

    async def _by_entry(self, entries: Entries | None) -> list[Row]:
        if entries is None:
            return await self._rows(None)
        try:
            if not self._profile.buffers.by_entry:
                raise SelectionUnavailable(ErrorWord.SERVICE_NOT_SUPPORTED, "the profile has no selection by entry")
            return await self._rows(by_entry(entries.first, entries.last))
        except SelectionUnavailable:
            rows = await self._rows(None)
            return rows[entries.first - 1 : entries.last or None]

    async def _rows(self, selection: Selection | None) -> list[Row]:
        buffer = await self._session.get(self._buffer, selection)
        try:
            return list(self._decoded(buffer))
        except (DlmsError, ValueError, OverflowError) as error:
            raise StepFailed(ErrorWord.INVALID_RESPONSE, f"GET {self._buffer}: {error}") from error

    def _range(self, first: datetime, last: datetime) -> Selection:
        if self._clock is None:
            column = CaptureObject(CosemAttribute(CLOCK_CLASS, self._profile.objects.clock, TIME))
        else:
            column = self._columns[self._clock].captured
        return by_range(column, self._encoded(column, first), self._encoded(column, last))

    def _encoded(self, column: CaptureObject, instant: datetime) -> Data:
        if column.attribute.class_id != CLOCK_CLASS:
            return Data.double_long_unsigned(int(instant.timestamp()))
        rules = self._profile.buffers
        value = CosemDateTime.from_datetime(
            instant.astimezone(UTC if rules.range_time == "utc" else self._zone),
            sign=self._profile.dates.sign,
            specify_deviation=rules.range_deviation,
        )
        return Data.octets(replace(value, date=replace(value.date, weekday=0xFF)).encode())

    def _decoded(self, buffer: Data) -> Iterator[Row]:
        packed = buffer.elements()
        instant: datetime | None = None
        for number, cells in enumerate(unpacked_rows(buffer, len(self._columns))):
            if self._clock is not None:
                told = packed[number].elements()[self._clock]
                instant = self._next_instant(told, instant)
            yield Row(instant, [self._shown(index, cell, instant) for index, cell in enumerate(cells)])

    def _next_instant(self, told: Data, before: datetime | None) -> datetime | None:
        """Null-data is one period after the row above, a delta so many seconds after it."""
        if told.tag is not Tag.NULL_DATA and told.tag not in DELTAS:
            return self._instant(told)
        if before is None:
            return None
        return before + (self._period if told.tag is Tag.NULL_DATA else timedelta(seconds=told.value))

    def _instant(self, cell: Data) -> datetime | None:
        if cell.tag in NUMBERS:
            return datetime.fromtimestamp(cell.number(), UTC)
        return instant_of(CosemDateTime.decode(cell.octet_string(12)), self._zone, self._profile.dates.sign)

    def _shown(self, index: int, cell: Data, instant: datetime | None) -> Any:
        column = self._columns[index]
        if index == self._clock and instant is not None:
            return instant.isoformat()
        if column.is_clock and cell.tag not in NUMBERS and cell.tag is not Tag.NULL_DATA:
            return str(CosemDateTime.decode(cell.octet_string(12)))
        if column.scale is not None and cell.tag in NUMBERS:
            return exact(cell.number(), column.scale.scaler)
        return plain(cell)


def _is_within(row: Row, first: datetime, last: datetime, after: datetime | None) -> bool:
    """A row whose time is not known stays."""
    instant = row.instant
    return instant is None or (first <= instant <= last and (after is None or instant > after))


READ_PROFILE = CommandType(
    traits=CommandTraits(name="READ_PROFILE", resend=Resend.SAFE, expires_after=timedelta(hours=6)),
    parameters=ReadProfile,
    perform=perform_profile,
    check=check_profile,
    target=object_of(CLASS_ID, "load_profile"),
    summary="Reads rows of a load profile, of a time or by their numbers: exact values, units, times with zone.",
)

READ_EVENTS = CommandType(
    traits=CommandTraits(name="READ_EVENTS", resend=Resend.SAFE, expires_after=timedelta(hours=6)),
    parameters=ReadEvents,
    perform=perform_events,
    check=check_events,
    summary="Reads an event log of the meter, of a time or by the entries' numbers.",
)
