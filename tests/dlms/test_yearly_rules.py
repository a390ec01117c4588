"""Yearly changes of zones: which zones have them, and when they take place."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from metercast.dlms.yearly_rules import ANY_WEEKDAY, YearlyRules, ZoneChange


@pytest.mark.parametrize(
    ("zone", "begin", "end"),
    [
        ("Europe/Amsterdam", ZoneChange(3, 7, True, 0, 2, 0), ZoneChange(10, 7, True, 0, 3, 0)),
        ("America/New_York", ZoneChange(3, 7, False, 8, 2, 0), ZoneChange(11, 7, False, 1, 2, 0)),
        ("Australia/Sydney", ZoneChange(10, 7, False, 1, 2, 0), ZoneChange(4, 7, False, 1, 3, 0)),
        ("Asia/Kolkata", None, None),
    ],
)
@pytest.mark.parametrize("year", range(2024, 2031))
def test_rules_that_last(zone: str, begin: ZoneChange | None, end: ZoneChange | None, year: int) -> None:
    rules = YearlyRules.lasting(ZoneInfo(zone), year)
    assert rules is not None
    assert (rules.begin, rules.end) == (begin, end)


def test_rules_that_follow_the_moon_do_not_last() -> None:
    assert all(YearlyRules.lasting(ZoneInfo("Africa/Casablanca"), year) is None for year in range(2024, 2031))


@pytest.mark.parametrize(
    ("change", "day"),
    [
        (ZoneChange(3, ANY_WEEKDAY, False, 21, 1, 30), 21),
        (ZoneChange(3, ANY_WEEKDAY, True, 0, 1, 30), 31),
        (ZoneChange(3, 2, True, 0, 1, 30), 31),
        (ZoneChange(3, 3, True, 0, 1, 30), 25),
        (ZoneChange(3, 7, False, 1, 1, 30), 1),
        (ZoneChange(3, 1, False, 1, 1, 30), 2),
    ],
)
def test_when_a_change_takes_place(change: ZoneChange, day: int) -> None:
    assert change.local_time(2026) == datetime(2026, 3, day, 1, 30, tzinfo=UTC)


def test_the_last_day_of_the_last_year() -> None:
    assert ZoneChange(12, ANY_WEEKDAY, True, 0, 0, 0).local_time(9999) == datetime(9999, 12, 31, tzinfo=UTC)
