"""The tariff calendar as commandParams and results show it, and what must hold of one (catalogue 1.1)."""

import calendar as gregorian
from datetime import date
from typing import Annotated, Any, Literal

import msgspec

from metercast.commands.parameters import Obis, check_obis, require

NameEncoding = Literal["ascii", "hex"]
ClockTime = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{2})?$",
        description="HH:MM:SS, with hundredths where wanted",
    ),
]
DayId = Annotated[int, msgspec.Meta(ge=0, le=255)]
ProfileName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
CalendarName = Annotated[str, msgspec.Meta(max_length=64)]
MonthNumber = Annotated[int, msgspec.Meta(ge=1, le=12)]
DayNumber = Annotated[int, msgspec.Meta(ge=1, le=31)]

MAX_CALENDAR_NAME_OCTETS = 32
MAX_PROFILE_NAME_OCTETS = 16


class SeasonStart(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """When a season begins; what is null matches any (catalogue 3.2)."""

    year: Annotated[int, msgspec.Meta(ge=2000, le=2099)] | None = None
    month: MonthNumber | Literal["dst-begin", "dst-end"] | None
    day: DayNumber | Literal["last", "second-last"] | None
    weekday: Annotated[int, msgspec.Meta(ge=1, le=7, description="1 is Monday")] | None = None
    time: ClockTime | None = "00:00:00"


class Season(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    name: ProfileName
    start: SeasonStart
    week: ProfileName


class Week(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`days`: the day ids of Monday to Sunday."""

    name: ProfileName
    days: Annotated[list[DayId], msgspec.Meta(min_length=7, max_length=7)]


class DayAction(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """From `start` on, what script `selector` of the script table sets holds: of `script`, or of the profile's."""

    start: ClockTime
    script: Obis | None = None
    selector: Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Day(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    id: DayId
    schedule: Annotated[list[DayAction], msgspec.Meta(min_length=1, max_length=96)]


Seasons = Annotated[list[Season], msgspec.Meta(min_length=1, max_length=64)]
Weeks = Annotated[list[Week], msgspec.Meta(min_length=1, max_length=64)]
Days = Annotated[list[Day], msgspec.Meta(min_length=1, max_length=255)]


class Calendar(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One calendar: its name and its three tables, with names as `name_encoding` writes them."""

    calendar_name: CalendarName
    seasons: Seasons
    weeks: Weeks
    days: Days
    name_encoding: NameEncoding = "ascii"


def name_octets(name: str, encoding: NameEncoding) -> bytes:
    """The octets of a name on the wire; ValueError where it is not what `encoding` says."""
    if encoding == "hex":
        if any(character not in "0123456789abcdefABCDEF" for character in name):
            raise ValueError("not hexadecimal")
        return bytes.fromhex(name)
    if not (name.isascii() and name.isprintable()):
        raise ValueError("not printable ASCII; write it with nameEncoding hex")
    return name.encode("ascii")


def check_calendar(calendar: Calendar) -> None:
    """Names, references and order of a calendar; InvalidField with a path below commandParams."""
    _check_name(calendar.calendar_name, calendar.name_encoding, "calendarName", MAX_CALENDAR_NAME_OCTETS)
    day_ids = _check_days(calendar.days)
    weeks = _check_weeks(calendar, day_ids)
    _check_seasons(calendar, weeks)


def _check_name(name: str, encoding: NameEncoding, path: str, limit: int) -> bytes:
    try:
        octets = name_octets(name, encoding)
    except ValueError as error:
        require(False, path, name, str(error))
        raise AssertionError from error
    require(len(octets) <= limit, path, name, f"at most {limit} octets")
    # Meters pad names with NUL, so a name that ends in one can't be told from one that does not.
    require(not octets.endswith(b"\0"), path, name, "a name can't end in NUL")
    return octets


def _check_days(days: list[Day]) -> set[int]:
    ids: set[int] = set()
    for number, day in enumerate(days):
        require(day.id not in ids, f"days[{number}].id", day.id, "the day id stands twice")
        ids.add(day.id)
        before = ""
        for index, action in enumerate(day.schedule):
            path = f"days[{number}].schedule[{index}]"
            check_obis(action.script, f"{path}.script")
            start = full_time(action.start)
            require(start > before, f"{path}.start", action.start, "the schedule is not sorted by start")
            before = start
    return ids


def _check_weeks(calendar: Calendar, day_ids: set[int]) -> set[bytes]:
    names: set[bytes] = set()
    for number, week in enumerate(calendar.weeks):
        path = f"weeks[{number}]"
        name = _check_name(week.name, calendar.name_encoding, f"{path}.name", MAX_PROFILE_NAME_OCTETS)
        require(name not in names, f"{path}.name", week.name, "the week's name stands twice")
        names.add(name)
        for index, day_id in enumerate(week.days):
            require(day_id in day_ids, f"{path}.days[{index}]", day_id, "no day of this id is in days")
    return names


def _check_seasons(calendar: Calendar, weeks: set[bytes]) -> None:
    names: set[bytes] = set()
    before: Season | None = None
    for number, season in enumerate(calendar.seasons):
        path = f"seasons[{number}]"
        name = _check_name(season.name, calendar.name_encoding, f"{path}.name", MAX_PROFILE_NAME_OCTETS)
        require(name not in names, f"{path}.name", season.name, "the season's name stands twice")
        names.add(name)
        week = _check_name(season.week, calendar.name_encoding, f"{path}.week", MAX_PROFILE_NAME_OCTETS)
        require(week in weeks, f"{path}.week", season.week, "no week of this name is in weeks")
        _check_start(season.start, f"{path}.start")
        if before is not None:
            shown = msgspec.to_builtins(season.start)
            require(_in_order(before.start, season.start), f"{path}.start", shown, "seasons are not sorted by start")
        before = season


def _check_start(start: SeasonStart, path: str) -> None:
    year, month, day = start.year, start.month, start.day
    if not isinstance(month, int) or not isinstance(day, int):
        return
    last = gregorian.monthrange(year or 2000, month)[1]  # a leap year, where any year is meant
    require(day <= last, f"{path}.day", day, f"month {month} has {last} days")
    if year is not None and start.weekday is not None:
        weekday = date(year, month, day).isoweekday()
        require(weekday == start.weekday, f"{path}.weekday", start.weekday, f"that day has weekday {weekday}")


def _in_order(before: SeasonStart, after: SeasonStart) -> bool:
    """Whether `before` really starts before `after`; true where wildcards leave it open."""
    first, second = _sort_key(before), _sort_key(after)
    if first is None or second is None or (before.year is None) != (after.year is None):
        return before != after
    if first[:3] == second[:3] and before.weekday != after.weekday:
        return True  # "the first Sunday from the 8th" and "the first Monday from the 8th" differ by year
    return first < second


def _sort_key(start: SeasonStart) -> tuple[Any, ...] | None:
    if isinstance(start.month, int) and isinstance(start.day, int):
        return start.year or 0, start.month, start.day, full_time(start.time or "00:00:00")
    return None


def full_time(text: str) -> str:
    """HH:MM:SS.hh, so that texts sort as times do."""
    return text if len(text) > 8 else f"{text}.00"
