"""What SET_TOU accepts and refuses before any I/O, with path and value."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from tests.commands.calendars import calendars, set_tou

from metercast.commands.registry import command_type, parse_parameters
from metercast.commands.tariff.set_tou import SetTou
from metercast.domain.problem import InvalidField

NOW = datetime(2026, 9, 17, tzinfo=UTC)


def parse(raw: dict[str, Any] | None) -> SetTou:
    parameters = parse_parameters(command_type("SET_TOU"), raw, NOW)
    assert isinstance(parameters, SetTou)
    return parameters


def changed(path: str, value: Any) -> dict[str, Any]:
    """The valid parameters with one value replaced; "-" takes it out."""
    raw = copy.deepcopy(set_tou())
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    target: Any = raw
    for step in steps:
        target = target[step]
    if value == "-":
        del target[last]
    else:
        target[last] = value
    return raw


def test_the_example_is_accepted() -> None:
    parameters = parse(set_tou())
    assert parameters.calendar.weeks[0].days == [1, 1, 1, 1, 1, 2, 2]
    assert parameters.obis is None  # the profile's


@pytest.mark.parametrize(
    ("path", "value", "where", "reason"),
    [
        ("weeks/0/days/3", 7, "commandParams.weeks[0].days[3]", "no day of this id"),
        ("weeks/0/days/3", "1", "commandParams.weeks[0].days[3]", "expected `int`"),
        ("weeks/0/days", [1] * 6, "commandParams.weeks[0].days", "length"),
        ("weeks/0/days", [1] * 8, "commandParams.weeks[0].days", "length"),
        ("weeks/0/name", "", "commandParams.weeks[0].name", "length"),
        ("weeks/0/name", "x" * 17, "commandParams.weeks[0].name", "at most 16 octets"),
        ("weeks/0/name", "é", "commandParams.weeks[0].name", "not printable ASCII"),
        ("weeks/0/mame", "1", "commandParams.weeks[0].mame", "unknown field"),
        ("weeks", [], "commandParams.weeks", "length"),
        ("seasons/0/week", "2", "commandParams.seasons[0].week", "no week of this name"),
        ("seasons/0/start/month", 13, "commandParams.seasons[0].start.month", "<= 12"),
        ("seasons/0/start/month", "-", "commandParams.seasons[0].start.month", "required"),
        ("seasons/0/start/day", 31, "commandParams.seasons[0].start.day", "month 4 has 30 days"),
        ("seasons/0/start/time", "24:00:00", "commandParams.seasons[0].start.time", "matching"),
        ("seasons/0/start/weekday", 8, "commandParams.seasons[0].start.weekday", "<= 7"),
        (
            "seasons/0/start",
            {"year": 2026, "month": 4, "day": 1, "weekday": 1},
            "commandParams.seasons[0].start.weekday",
            "has weekday 3",
        ),
        (
            "seasons/0/start",
            {"year": 2026, "month": 2, "day": 29},
            "commandParams.seasons[0].start.day",
            "month 2 has 28 days",
        ),
        ("days/1/id", 1, "commandParams.days[1].id", "stands twice"),
        ("days/0/id", 256, "commandParams.days[0].id", "<= 255"),
        ("days/0/schedule", [], "commandParams.days[0].schedule", "length"),
        ("days/1/schedule/1/start", "00:00:00", "commandParams.days[1].schedule[1].start", "not sorted"),
        ("days/0/schedule/0/start", "7:00", "commandParams.days[0].schedule[0].start", "matching"),
        ("days/0/schedule/0/script", "0.0.10.0.256.255", "commandParams.days[0].schedule[0].script", "logical name"),
        ("days/0/schedule/0/script", "tariff", "commandParams.days[0].schedule[0].script", "matching"),
        ("days/0/schedule/0/selector", 65536, "commandParams.days[0].schedule[0].selector", "<= 65535"),
        ("days/0/schedule/0/selector", "-", "commandParams.days[0].schedule[0].selector", "required"),
        ("calendarName", "x" * 33, "commandParams.calendarName", "at most 32 octets"),
        ("calendarName", "-", "commandParams.calendarName", "needs it"),
        ("seasons", "-", "commandParams.seasons", "needs it"),
        ("activation", "-", "commandParams.activation", "required"),
        ("activation/mode", "now", "commandParams.activation.mode", "invalid enum value"),
        ("activation/at", "2027-01-01T00:00:00Z", "commandParams.activation.at", "mode immediate takes no time"),
        ("obis", "0.0.13.0.0.256", "commandParams.obis", "logical name"),
        ("nameEncoding", "hex", "commandParams.calendarName", "not hexadecimal"),
        ("surprise", 1, "commandParams.surprise", "unknown field"),
    ],
)
def test_what_does_not_validate_names_path_and_value(path: str, value: Any, where: str, reason: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse(changed(path, value))
    assert caught.value.path == where
    assert reason in caught.value.detail
    assert caught.value.received is not None
    assert len(caught.value.received) <= 100


@pytest.mark.parametrize(
    ("first", "second", "sorted_"),
    [
        ({"month": 4, "day": 1}, {"month": 10, "day": 1}, True),
        ({"month": 10, "day": 1}, {"month": 4, "day": 1}, False),
        ({"month": 4, "day": 1}, {"month": 4, "day": 1}, False),
        ({"month": 4, "day": 1, "time": "01:00:00"}, {"month": 4, "day": 1, "time": "02:00:00"}, True),
        ({"month": 4, "day": 1, "year": 2027}, {"month": 4, "day": 1, "year": 2026}, False),
        ({"month": 4, "day": 8, "weekday": 7}, {"month": 4, "day": 8, "weekday": 1}, True),
        ({"month": 10, "day": "last"}, {"month": 4, "day": 1}, True),
        ({"month": "dst-begin", "day": 1}, {"month": "dst-end", "day": 1}, True),
        ({"month": "dst-begin", "day": 1}, {"month": "dst-begin", "day": 1}, False),
    ],
)
def test_seasons_are_sorted_where_wildcards_do_not_leave_it_open(
    first: dict[str, Any], second: dict[str, Any], sorted_: bool
) -> None:
    seasons = [{"name": "1", "start": first, "week": "1"}, {"name": "2", "start": second, "week": "1"}]
    if sorted_:
        parse(set_tou(seasons=seasons))
        return
    with pytest.raises(InvalidField, match=r"seasons\[1\]\.start: seasons are not sorted"):
        parse(set_tou(seasons=seasons))


def test_names_stand_once() -> None:
    season = set_tou()["seasons"][0]
    later = {"name": "1", "start": {"month": 10, "day": 1}, "week": "1"}
    with pytest.raises(InvalidField, match=r"seasons\[1\]\.name: the season's name stands twice"):
        parse(set_tou(seasons=[season, later]))
    week = set_tou()["weeks"][0]
    with pytest.raises(InvalidField, match=r"weeks\[1\]\.name: the week's name stands twice"):
        parse(set_tou(weeks=[week, week]))


def test_hex_names() -> None:
    seasons = [{"name": "01", "start": {"month": 4, "day": 1}, "week": "ff"}]
    weeks = [{"name": "FF", "days": [1] * 7}]
    parameters = parse(set_tou(nameEncoding="hex", calendarName="0102", seasons=seasons, weeks=weeks))
    assert parameters.calendar.name_encoding == "hex"
    with pytest.raises(InvalidField, match="can't end in NUL"):
        parse(set_tou(nameEncoding="hex", calendarName="0100", seasons=seasons, weeks=weeks))


@pytest.mark.parametrize(
    ("at", "where", "reason"),
    [
        (None, "commandParams.activation.at", "mode at needs a time"),
        ("2027-01-01T00:00:00", "commandParams.activation.at", "needs a zone"),
        ("2027-01-01", "commandParams.activation.at", "a date and a time"),
        ("soon", "commandParams.activation.at", "no time"),
        (5, "commandParams.activation.at", "expected"),
        ("2026-09-17T00:00:00Z", "commandParams.activation.at", "has passed"),
        ("2027-01-01T00:00:00.5Z", "commandParams.activation.at", "whole seconds"),
        ("2107-01-01T00:00:00Z", "commandParams.activation.at", "the year"),
        ({"local": "2027-01-01T00:00:00Z"}, "commandParams.activation.at.local", "has no zone"),
        ({"local": "2026-09-16T12:00:00"}, "commandParams.activation.at.local", "passed in every zone"),
        ({"local": "2027-01-01T00:00:00", "zone": "UTC"}, "commandParams.activation.at.zone", "unknown field"),
        ({}, "commandParams.activation.at.local", "required"),
    ],
)
def test_activation_times_that_are_refused(at: Any, where: str, reason: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse(set_tou(activation={"mode": "at", "at": at}))
    assert caught.value.path == where
    assert reason in caught.value.detail


@pytest.mark.parametrize(
    "at",
    [
        "2027-01-01T00:00:00Z",
        "2027-01-01T00:00:00+05:30",
        {"local": "2027-01-01T00:00:00"},
        {"local": "2026-09-16T12:00:01"},  # in UTC-12 this is yet to come
    ],
)
def test_activation_times_that_are_accepted(at: Any) -> None:
    assert parse(set_tou(activation={"mode": "at", "at": at})).activation.mode == "at"


def test_disarm_takes_no_calendar() -> None:
    assert parse({"activation": {"mode": "disarm"}}).activation.mode == "disarm"
    with pytest.raises(InvalidField, match=r"commandParams\.calendarName: mode disarm writes no calendar"):
        parse(set_tou("disarm"))


def test_no_parameters_at_all() -> None:
    with pytest.raises(InvalidField, match=r"commandParams\.activation: required"):
        parse(None)


@given(calendars())
def test_every_valid_calendar_is_accepted(calendar: dict[str, Any]) -> None:
    assert parse({**calendar, "activation": {"mode": "none"}}).calendar.calendar_name == calendar["calendarName"]
