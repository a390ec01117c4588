"""The tables of a tariff calendar as COSEM Data, and what two of them have in common in meaning (catalogue 1.1).

`Tables` is the normal form: names without padding, tables in the order of their names and ids, times as the meter
would understand them. Two calendars mean the same when their normal forms are equal.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

from msgspec.structs import replace

from metercast.commands.parameters import chosen
from metercast.commands.tariff.calendar import (
    Calendar,
    Day,
    NameEncoding,
    SeasonStart,
    name_octets,
)
from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import (
    ANY,
    ANY_YEAR,
    DST_BEGIN,
    DST_END,
    LAST_DAY,
    SECOND_LAST_DAY,
    CosemDate,
    CosemDateTime,
    CosemTime,
)
from metercast.dlms.logical_name import LogicalName
from metercast.profiles.model import Profile

_MONTHS = {"dst-begin": DST_BEGIN, "dst-end": DST_END}
_DAYS = {"last": LAST_DAY, "second-last": SECOND_LAST_DAY}
_MONTH_NAMES = {code: name for name, code in _MONTHS.items()} | {ANY: None}
_DAY_NAMES = {code: name for name, code in _DAYS.items()} | {ANY: None}


class SeasonRow(NamedTuple):
    name: bytes
    date: CosemDate
    time: CosemTime
    week: bytes


class WeekRow(NamedTuple):
    name: bytes
    days: tuple[int, ...]


class ActionRow(NamedTuple):
    start: CosemTime
    script: LogicalName
    selector: int


class DayRow(NamedTuple):
    day_id: int
    schedule: tuple[ActionRow, ...]


class Tables(NamedTuple):
    """One calendar in normal form; the fields stand in the order of the class's attributes."""

    name: bytes
    seasons: tuple[SeasonRow, ...]
    weeks: tuple[WeekRow, ...]
    days: tuple[DayRow, ...]


class Manner(NamedTuple):
    """What a meter's profile says of the tables' form: the types of dates and times, and the usual script table."""

    date_time: Tag = Tag.OCTET_STRING
    time: Tag = Tag.OCTET_STRING
    scripts: LogicalName = LogicalName.parse("0.0.10.0.100.255")

    @classmethod
    def of(cls, profile: Profile) -> Self:
        return cls(profile.dates.date_time, profile.dates.time, profile.objects.tariff_scripts)


_USUAL = Manner()


def encode_calendar(calendar: Calendar, manner: Manner = _USUAL) -> tuple[Data, Data, Data, Data]:
    """Name, seasons, weeks and days as attributes 6 to 9 take them. The calendar must have been checked."""
    encoding = calendar.name_encoding

    def name(text: str) -> Data:
        return Data.octets(name_octets(text, encoding))

    seasons = [
        Data.structure([name(season.name), Data(manner.date_time, encode_start(season.start)), name(season.week)])
        for season in calendar.seasons
    ]
    weeks = [Data.structure([name(week.name), *map(Data.unsigned, week.days)]) for week in calendar.weeks]
    days = [Data.structure([Data.unsigned(day.id), _encode_schedule(day, manner)]) for day in calendar.days]
    return name(calendar.calendar_name), Data.array(seasons), Data.array(weeks), Data.array(days)


def encode_start(start: SeasonStart) -> bytes:
    """The date-time of a season's start; deviation and status are left open."""
    return CosemDateTime(
        CosemDate(
            ANY_YEAR if start.year is None else start.year,
            _code(start.month, _MONTHS),
            _code(start.day, _DAYS),
            ANY if start.weekday is None else start.weekday,
        ),
        CosemTime() if start.time is None else parse_time(start.time, without_hundredths=ANY),
    ).encode()


def parse_time(text: str, *, without_hundredths: int) -> CosemTime:
    """From HH:MM:SS or HH:MM:SS.hh."""
    hundredths = int(text[9:]) if len(text) > 8 else without_hundredths
    return CosemTime(int(text[0:2]), int(text[3:5]), int(text[6:8]), hundredths)


def _encode_schedule(day: Day, manner: Manner) -> Data:
    return Data.array(
        Data.structure(
            [
                Data(manner.time, parse_time(action.start, without_hundredths=0).encode()),
                Data.octets(chosen(action.script, manner.scripts)),
                Data.long_unsigned(action.selector),
            ]
        )
        for action in day.schedule
    )


def _code(value: int | str | None, codes: dict[str, int]) -> int:
    if value is None:
        return ANY
    return value if isinstance(value, int) else codes[value]


def decode_name(data: Data) -> bytes:
    """The name without the NUL that some meters pad it with; DecodeError where it is no string."""
    if data.tag is Tag.VISIBLE_STRING:
        octets: bytes = data.value.encode("latin-1")
    else:
        octets = data.octet_string()
    return octets.rstrip(b"\0")


def decode_seasons(data: Data) -> tuple[SeasonRow, ...]:
    """In the order of names; DecodeError where it is no season profile."""
    return tuple(sorted(map(_season, data.elements())))


def _season(data: Data) -> SeasonRow:
    name, start, week = data.elements(3)
    moment = CosemDateTime.decode(start.octet_string(12))
    return SeasonRow(decode_name(name), _normal_date(moment.date), _normal_time(moment.time), decode_name(week))


def decode_weeks(data: Data) -> tuple[WeekRow, ...]:
    """In the order of names; DecodeError where it is no week profile table."""
    rows = []
    for week in data.elements():
        name, *days = week.elements(8)
        rows.append(WeekRow(decode_name(name), tuple(day.number() for day in days)))
    return tuple(sorted(rows))


def decode_days(data: Data) -> tuple[DayRow, ...]:
    """In the order of ids, each schedule in the order of time; DecodeError where it is no day profile table."""
    rows = []
    for day in data.elements():
        day_id, schedule = day.elements(2)
        rows.append(DayRow(day_id.number(), tuple(sorted(map(_action, schedule.elements())))))
    return tuple(sorted(rows))


def _action(data: Data) -> ActionRow:
    start, script, selector = data.elements(3)
    time = _normal_time(CosemTime.decode(start.octet_string(4)))
    return ActionRow(time, LogicalName(script.octet_string(6)), selector.number())


DECODERS: tuple[Callable[[Data], Any], ...] = (decode_name, decode_seasons, decode_weeks, decode_days)


def decode_tables(name: Data, seasons: Data, weeks: Data, days: Data) -> Tables:
    """The normal form of four attributes; DecodeError where one of them is not what the class says."""
    return Tables(decode_name(name), decode_seasons(seasons), decode_weeks(weeks), decode_days(days))


def _normal_time(time: CosemTime) -> CosemTime:
    """Hundredths that are not specified are 0, unless nothing of the time is."""
    return replace(time, hundredths=0) if time.hundredths == ANY and time != CosemTime() else time


def _normal_date(date: CosemDate) -> CosemDate:
    """The weekday of a whole date says nothing that the date does not say."""
    whole = date.year != ANY_YEAR and date.month <= 12 and date.day <= 31
    return replace(date, weekday=ANY) if whole else date


def tables_json(tables: Tables) -> dict[str, Any]:
    """The calendar in the shape of SET_TOU's commandParams.

    Names are ASCII where each of them can be, else all are hex. A time or month that commandParams can't say, as
    a meter may hold one, is text with * for what is not specified.
    """
    names = [tables.name, *(n for row in tables.seasons for n in (row.name, row.week)), *(w.name for w in tables.weeks)]
    encoding: NameEncoding = "ascii" if all(map(_is_printable, names)) else "hex"

    def text(name: bytes) -> str:
        return name.decode("ascii") if encoding == "ascii" else name.hex()

    return {
        "calendarName": text(tables.name),
        "nameEncoding": encoding,
        "seasons": [
            {"name": text(row.name), "start": _start_json(row), "week": text(row.week)}
            for row in sorted(tables.seasons, key=lambda row: (row.date, row.time, row.name))
        ],
        "weeks": [{"name": text(row.name), "days": list(row.days)} for row in tables.weeks],
        "days": [
            {"id": row.day_id, "schedule": [_action_json(action) for action in row.schedule]} for row in tables.days
        ],
    }


def _is_printable(name: bytes) -> bool:
    return all(0x20 <= octet < 0x7F for octet in name)


def _start_json(row: SeasonRow) -> dict[str, Any]:
    date, time = row.date, row.time
    return {
        "year": None if date.year == ANY_YEAR else date.year,
        "month": _MONTH_NAMES.get(date.month, date.month),
        "day": _DAY_NAMES.get(date.day, date.day),
        "weekday": None if date.weekday == ANY else date.weekday,
        "time": None if time == CosemTime() else str(time),
    }


def _action_json(row: ActionRow) -> dict[str, Any]:
    return {"start": str(row.start), "script": str(row.script), "selector": row.selector}


def differences(wanted: Tables, found: Tables) -> list[str]:
    """What differs, a short text for each of the four parts; empty where both mean the same."""
    texts = []
    if wanted.name != found.name:
        texts.append(f"calendar name is {_shown(found.name)}, not {_shown(wanted.name)}")
    for field in Tables._fields[1:]:
        before, after = set(getattr(wanted, field)), set(getattr(found, field))
        if getattr(wanted, field) != getattr(found, field):
            texts.append(f"{field}: {len(before - after)} missing, {len(after - before)} unasked")
    return texts


def _shown(name: bytes) -> str:
    return repr(name.decode("ascii")) if _is_printable(name) else f"hex:{name[:64].hex()}"
