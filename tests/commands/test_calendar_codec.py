"""Calendars as COSEM Data: catalogue vectors, round trips, and what counts as the same."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands.calendars import calendars, set_tou

from metercast.commands.registry import command_type, parse_parameters
from metercast.commands.tariff.calendar import Calendar
from metercast.commands.tariff.calendar_codec import (
    Tables,
    decode_days,
    decode_name,
    decode_seasons,
    decode_tables,
    decode_weeks,
    differences,
    encode_calendar,
    tables_json,
)
from metercast.commands.tariff.set_tou import SetTou
from metercast.dlms.data import Data, decode_whole, encode_data
from metercast.dlms.errors import DlmsError


def calendar_of(raw: dict[str, Any]) -> Calendar:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    parameters = parse_parameters(command_type("SET_TOU"), {**raw, "activation": {"mode": "none"}}, now)
    assert isinstance(parameters, SetTou)
    return parameters.calendar


def tables_of(raw: dict[str, Any]) -> Tables:
    return decode_tables(*encode_calendar(calendar_of(raw)))


def data(text: str) -> Data:
    return decode_whole(bytes.fromhex(text))


@given(calendars())
def test_a_calendar_survives_the_wire(raw: dict[str, Any]) -> None:
    octets = [encode_data(part) for part in encode_calendar(calendar_of(raw))]
    tables = decode_tables(*[decode_whole(each) for each in octets])
    shown = tables_json(tables)
    assert shown["seasons"] == raw["seasons"]
    assert sorted(shown["weeks"], key=str) == sorted(raw["weeks"], key=str)
    assert shown["days"] == sorted(raw["days"], key=lambda day: int(day["id"]))
    # What is shown can be sent again, and means the same.
    assert tables_of(shown) == tables


def test_vectors_of_the_catalogue() -> None:
    (season,) = decode_seasons(data("01010203090101090C07EA0101FF00000000000000090101"))
    assert (season.name, season.week, tuple(season.date)[:3], tuple(season.time)[:3]) == (
        b"\x01",
        b"\x01",
        (2026, 1, 1),
        (0, 0, 0),
    )
    (week,) = decode_weeks(data("010102080901011101110111011101110111021102"))
    assert week.days == (1, 1, 1, 1, 1, 2, 2)
    (day,) = decode_days(data("0101020211010101" + "0203090402000000090600000A0064FF120002"))
    assert (tuple(day.schedule[0].start)[:3], str(day.schedule[0].script), day.schedule[0].selector) == (
        (2, 0, 0),
        "0.0.10.0.100.255",
        2,
    )


def test_names_that_are_no_text_are_shown_as_hex() -> None:
    tables = Tables(b"\xfe", (), decode_weeks(data("010102080901311101110111011101110111021102")), ())
    assert tables_json(tables)["calendarName"] == "fe"
    assert tables_json(tables)["weeks"][0]["name"] == "31"
    assert tables_json(tables)["nameEncoding"] == "hex"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # NUL padding, hundredths, deviation and status, tag 19 instead of 09, weekday of a whole date
        ("0101020309023100090c07ea0401ff000000008000ff090131", "01010203090131090c07ea0401ff000000ff800000090131"),
        ("01010203090131090c07ea0401ff000000ffff4c80090131", "010102030901311907ea040103000000008000ff090131"),
    ],
)
def test_seasons_that_mean_the_same(one: str, other: str) -> None:
    assert decode_seasons(data(one)) == decode_seasons(data(other))


def test_the_order_of_tables_means_nothing() -> None:
    weeks = [{"name": name, "days": [1, 1, 1, 1, 1, 2, 2]} for name in ("b", "a")]
    seasons = [{"name": "1", "start": {"month": 4, "day": 1}, "week": "a"}]
    assert tables_of(set_tou(weeks=weeks, seasons=seasons)) == tables_of(set_tou(weeks=weeks[::-1], seasons=seasons))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("01010203090131090cffff0401ff000000ff8000ff090131", "01010203090131090cffff040107000000ff8000ff090131"),
        ("01010203090131090cffff0401ff000000ff8000ff090131", "01010203090131090cffff0401ffffffffff8000ff090131"),
        ("01010203090131090cffff0401ff000000ff8000ff090131", "01010203090132090cffff0401ff000000ff8000ff090131"),
    ],
)
def test_seasons_that_differ(one: str, other: str) -> None:
    assert decode_seasons(data(one)) != decode_seasons(data(other))


def test_differences_are_named() -> None:
    wanted = tables_of(set_tou())
    found = tables_of(set_tou(calendarName="TOU25", weeks=[{"name": "1", "days": [1] * 7}]))
    assert differences(wanted, found) == [
        "calendar name is 'TOU25', not 'TOU26'",
        "weeks: 1 missing, 1 unasked",
    ]
    assert differences(wanted, wanted) == []


def test_wildcards_are_shown_and_accepted() -> None:
    start = {"year": None, "month": "dst-begin", "day": "last", "weekday": 7, "time": None}
    seasons = [{"name": "1", "start": start, "week": "1"}]
    tables = tables_of(set_tou(seasons=seasons))
    assert tables_json(tables)["seasons"] == seasons
    assert encode_data(encode_calendar(calendar_of(set_tou(seasons=seasons)))[1]).hex() == (
        "01010203090131090cfffffefe07ffffffff8000ff090131"
    )


simple = st.one_of(
    st.builds(Data.unsigned, st.integers(0, 255)),
    st.builds(Data.octets, st.binary(max_size=14)),
    st.builds(Data.visible_string, st.text(st.characters(max_codepoint=255), max_size=4)),
    st.just(Data.null()),
)
anything = st.recursive(simple, lambda inner: st.builds(Data.array, st.lists(inner, max_size=9)), max_leaves=20)


@given(anything)
def test_any_data_decodes_or_says_why_not(value: Data) -> None:
    for decode in (decode_name, decode_seasons, decode_weeks, decode_days):
        with contextlib.suppress(DlmsError, ValueError):
            decode(value)
