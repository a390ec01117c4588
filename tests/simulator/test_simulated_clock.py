"""The clock that runs, drifts and is set, and the zone rules against the IANA data."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from metercast.simulator.clock import MeterClock, ZoneRules


class Source:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Australia/Sydney", "Asia/Kathmandu"]
)
def test_the_rules_agree_with_the_iana_data(zone: str) -> None:
    rules = ZoneRules.of_zone(zone, 2026)
    moment = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    while moment.year == 2026:
        offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
        assert offset is not None
        assert rules.offset(moment) == offset.total_seconds() / 60, moment
        local = moment.astimezone(rules)
        assert local.utcoffset() == offset
        assert local.replace(tzinfo=None) == moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert local.astimezone(UTC) == moment
        moment += timedelta(hours=1)


def test_the_rules_hold_in_later_years() -> None:
    rules = ZoneRules.of_zone("Europe/Amsterdam", 2026)
    assert rules.offset(datetime(2031, 3, 30, 0, 59, tzinfo=UTC)) == 60
    assert rules.offset(datetime(2031, 3, 30, 1, 0, tzinfo=UTC)) == 120
    assert rules.offset(datetime(2031, 10, 26, 0, 59, tzinfo=UTC)) == 120
    assert rules.offset(datetime(2031, 10, 26, 1, 0, tzinfo=UTC)) == 60


def test_the_clock_runs_with_its_drift_and_offset() -> None:
    source = Source()
    clock = MeterClock(ZoneRules(0), offset=12.0, drift=0.001, time_source=source)
    assert clock.offset() == 12.0
    source.now += 1000
    assert clock.offset() == pytest.approx(13.0)


def test_a_clock_that_is_set_and_shifted_goes_on_from_there() -> None:
    source = Source()
    clock = MeterClock(ZoneRules(0), offset=600.0, time_source=source)
    clock.set(source.now)
    source.now += 10
    assert clock.offset() == 0.0
    clock.shift(-30)
    source.now += 10
    assert clock.offset() == -30.0
    assert clock.now() == datetime.fromtimestamp(source.now - 30, UTC)
