"""Dates, times and date-times: wildcards, deviation and its sign, equality in meaning."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metercast.dlms.datetimes import (
    ANY,
    ANY_YEAR,
    DST_BEGIN,
    DST_END,
    LAST_DAY,
    NO_DEVIATION,
    NO_STATUS,
    STATUS_DST,
    CosemDate,
    CosemDateTime,
    CosemTime,
    DeviationSign,
)
from metercast.dlms.errors import DecodeError, EncodeError

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def of(text: str) -> CosemDateTime:
    return CosemDateTime.decode(bytes.fromhex(text))


def test_the_live_meter_in_utc_plus_3_sends_minus_180() -> None:
    moment = of("07ea0911ff0c0f0600ff4c00")
    assert moment.deviation == -180
    assert moment.to_datetime() == datetime(2026, 9, 17, 9, 15, 6, tzinfo=UTC)
    local = datetime(2026, 9, 17, 12, 15, 6, tzinfo=timezone(timedelta(hours=3)))
    assert CosemDateTime.from_datetime(local).encode().hex() == "07ea0911040c0f0600ff4c00"


def test_inverted_sign_is_a_choice_of_the_profile() -> None:
    local = datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=-5)))
    standard = CosemDateTime.from_datetime(local)
    inverted = CosemDateTime.from_datetime(local, sign=DeviationSign.INVERTED)
    assert (standard.deviation, inverted.deviation) == (300, -300)
    assert standard.encode()[9:11].hex() == "012c"
    assert standard.to_datetime() == inverted.to_datetime(sign=DeviationSign.INVERTED) == local


def test_daylight_saving_is_told_in_status_and_deviation() -> None:
    summer = CosemDateTime.from_datetime(datetime(2026, 7, 1, 12, tzinfo=AMSTERDAM))
    winter = CosemDateTime.from_datetime(datetime(2026, 1, 1, 12, tzinfo=AMSTERDAM))
    assert (summer.deviation, summer.status, summer.daylight_saving) == (-120, STATUS_DST, True)
    assert (winter.deviation, winter.status, winter.daylight_saving) == (-60, 0, False)
    silent = CosemDateTime.from_datetime(winter.to_datetime(), specify_deviation=False, specify_status=False)
    assert (silent.deviation, silent.status, silent.daylight_saving) == (NO_DEVIATION, NO_STATUS, None)


def test_without_deviation_the_zone_decides_and_the_status_the_double_hour() -> None:
    first = CosemDateTime(CosemDate(2026, 10, 25), CosemTime(2, 30, 0, 0), NO_DEVIATION, STATUS_DST)
    second = replace(first, status=0)
    assert first.to_datetime(zone=AMSTERDAM).astimezone(UTC).hour == 0
    assert second.to_datetime(zone=AMSTERDAM).astimezone(UTC).hour == 1
    with pytest.raises(DecodeError, match="neither deviation nor zone"):
        first.to_datetime()


def test_hundredths_and_seconds_may_be_left_open() -> None:
    moment = of("07ea0105ff0a0bffff000000")
    assert moment.to_datetime() == datetime(2026, 1, 5, 10, 11, tzinfo=UTC)
    assert of("07ea0105ff0a0b0c63000000").to_datetime().microsecond == 990_000


@pytest.mark.parametrize(
    "text",
    [
        "ffff0105ff0a0b0c00000000",
        "07eaff05ff0a0b0c00000000",
        "07eafe05ff0a0b0c00000000",
        "07ea0105ffff0b0c00000000",
        "07ea0d05ff0a0b0c00000000",
        "07ea021eff0a0b0c00000000",
        "07ea0105ff180b0c00000000",
        "07ea0105ff0a0b0c64000000",
        "07ea0105ff0a0b0c0005a000",
        "000000000000000000000000",
    ],
)
def test_what_is_no_instant_is_a_decode_error(text: str) -> None:
    with pytest.raises(DecodeError):
        of(text).to_datetime(zone=UTC)


@pytest.mark.parametrize("size", [0, 11, 13])
def test_lengths_are_exact(size: int) -> None:
    for decode in (CosemDateTime.decode, CosemDate.decode, CosemTime.decode):
        with pytest.raises(DecodeError):
            decode(bytes(size))


def test_wildcards_have_their_codes() -> None:
    last_sunday = CosemDate(ANY_YEAR, DST_END, LAST_DAY, 7)
    last_sunday.check()
    assert last_sunday.encode().hex() == "fffffdfe07"
    assert CosemDate(month=DST_BEGIN).encode().hex() == "fffffeffff"
    assert str(CosemDate(ANY_YEAR, 12, 25)) == "*-12-25"
    assert CosemDateTime().is_unspecified
    assert of("ffffffffffffffffff8000ff").is_unspecified
    assert of("ffffffffffffffff008000ff").is_unspecified
    assert not of("ffffffffff00ffffff8000ff").is_unspecified


@pytest.mark.parametrize(
    "wrong",
    [
        CosemDate(2026, 13),
        CosemDate(2026, 0),
        CosemDate(2026, 2, 30),
        CosemDate(2026, 12, 31, 5),  # a Thursday
        CosemDate(weekday=8),
        CosemTime(24),
        CosemTime(0, 60),
        CosemTime(0, 0, 0, 100),
        CosemDateTime(deviation=721),
    ],
)
def test_check_names_what_is_out_of_range(wrong: CosemDate | CosemTime | CosemDateTime) -> None:
    with pytest.raises(EncodeError):
        wrong.check()


def test_values_outside_an_octet_are_our_own_error() -> None:
    with pytest.raises(EncodeError):
        CosemTime(256).encode()


def test_equal_in_meaning() -> None:
    written = of("07ea0c1fff160000ff8000ff")
    assert written.same_as(of("07ea0c1fff160000008000ff"))
    assert written.same_as(of("07ea0c1f0416000000ffc400"))
    assert not written.same_as(of("07ea0c1fff170000ff8000ff"))
    assert not of("07ea0c1fff16000000ffc400").same_as(of("07ea0c1fff16000000000000"))
    assert not CosemTime(7, 0, 0, 1).same_as(CosemTime(7, 0, 0, 0))
    assert not CosemDate(ANY_YEAR, 4, 1, 1).same_as(CosemDate(ANY_YEAR, 4, 1, ANY))


def test_times_are_parsed_from_text() -> None:
    assert CosemTime.parse("07:00:00").encode().hex() == "07000000"
    assert CosemTime.parse("23:59") == CosemTime(23, 59, 0, 0)
    for text in ("7:00", "24:00", "07:00:00:00", "", "٠٧:٠٠"):
        with pytest.raises(EncodeError):
            CosemTime.parse(text)


def test_naive_datetimes_are_refused() -> None:
    with pytest.raises(EncodeError):
        CosemDateTime.from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 1),  # noqa: DTZ001
        max_value=datetime(9000, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    ),
    st.sampled_from(DeviationSign),
)
def test_instants_survive_the_wire(instant: datetime, sign: DeviationSign) -> None:
    octets = CosemDateTime.from_datetime(instant, sign=sign).encode()
    back = CosemDateTime.decode(octets).to_datetime(sign=sign)
    assert instant - back < timedelta(milliseconds=10)
    assert back.utcoffset() == instant.utcoffset()


@given(st.binary(min_size=12, max_size=12))
def test_any_twelve_octets_survive(octets: bytes) -> None:
    moment = CosemDateTime.decode(octets)
    assert moment.encode() == octets
    assert moment.same_as(moment)
    assert str(moment)
    with contextlib.suppress(DecodeError):
        moment.to_datetime(zone=UTC)
