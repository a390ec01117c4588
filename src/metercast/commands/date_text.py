"""Dates and times with wildcards as people write them: `*-12-25`, `*-*-last 02:00:00` (catalogue 3.2)."""

import re
from typing import Final

from metercast.dlms.datetimes import (
    ANY,
    ANY_YEAR,
    LAST_DAY,
    SECOND_LAST_DAY,
    CosemDate,
    CosemDateTime,
    CosemTime,
)
from metercast.dlms.errors import EncodeError

_DATE: Final = re.compile(r"(?P<year>\*|[0-9]{4})-(?P<month>\*|[0-9]{2})-(?P<day>\*|last|second-last|[0-9]{2})")
_TIME: Final = re.compile(r"(?P<hour>\*|[0-9]{2}):(?P<minute>\*|[0-9]{2}):(?P<second>\*|[0-9]{2})")
_DAYS: Final = {"*": ANY, "last": LAST_DAY, "second-last": SECOND_LAST_DAY}


def parse_date(text: str) -> CosemDate:
    """EncodeError where it is no date."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise EncodeError("no date; write it as 2026-12-25, *-12-25 or *-05-last")
    year = ANY_YEAR if match["year"] == "*" else int(match["year"])
    month = ANY if match["month"] == "*" else int(match["month"])
    day = _DAYS[match["day"]] if match["day"] in _DAYS else int(match["day"])
    if day == 0:
        raise EncodeError("no day 0")
    date = CosemDate(year, month, day)
    date.check()
    return date


def parse_date_time(text: str) -> CosemDateTime:
    """Without deviation and status: the meter's local time. EncodeError where it is no date and time."""
    date, separator, time = text.partition(" ")
    match = _TIME.fullmatch(time)
    if not separator or match is None:
        raise EncodeError("no date and time; write them as 2026-12-25 02:00:00 or *-*-* 02:00:00")
    hour, minute, second = (ANY if part == "*" else int(part) for part in match.groups())
    value = CosemDateTime(parse_date(date), CosemTime(hour, minute, second, ANY if second == ANY else 0))
    value.check()
    return value
