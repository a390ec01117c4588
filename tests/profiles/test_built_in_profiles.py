"""What the profiles that come with Metercast say, where the catalogue says it."""

import pytest

from metercast.dlms.logical_name import LogicalName
from metercast.profiles.collection import BUILT_IN


def log(number: int) -> LogicalName:
    return LogicalName.parse(f"0.0.99.98.{number}.255")


@pytest.mark.parametrize(
    ("profile", "clients"),
    [
        ("generic", {"management": 1, "public": 16}),
        ("idis", {"management": 1, "public": 16, "reader": 2, "pre-established": 102}),
        ("dsmr", {"management": 1, "public": 16}),
        ("spodes", {"management": 48, "public": 16, "reader": 32}),
        (
            "is15959",
            {"public": 16, "reader": 32, "management": 48, "push": 64, "firmware": 80, "in-home-display": 96},
        ),
    ],
)
def test_the_clients_of_catalogue_2_1(profile: str, clients: dict[str, int]) -> None:
    assert {name: client.sap for name, client in BUILT_IN.get(profile).clients.items()} == clients


def test_each_client_of_is_15959_has_a_counter_of_its_own() -> None:
    profile = BUILT_IN.get("is15959")
    counters = [str(profile.invocation_counter("management", sap)) for sap in (16, 32, 48, 64, 80, 96)]
    assert counters == [f"0.0.43.1.{number}.255" for number in range(1, 7)]


def test_dsmr_calendars_are_small_with_names_of_one_digit() -> None:
    calendar = BUILT_IN.get("dsmr").calendar
    assert (calendar.max_seasons, calendar.max_weeks, calendar.max_days) == (4, 4, 4)
    assert calendar.profile_names == "digit"


def test_event_logs_and_codes() -> None:
    dsmr, india = BUILT_IN.get("dsmr"), BUILT_IN.get("is15959")
    assert [dsmr.events[name].object for name in ("standard", "fraud", "m-bus")] == [log(0), log(1), log(3)]
    assert dsmr.events["standard"].codes["2"] == "power up"
    assert [each.object for each in india.events.values()] == [log(number) for number in range(7)]
    assert BUILT_IN.get("generic").events == {}


def test_spodes_stops_before_the_fifth_wrong_password() -> None:
    assert BUILT_IN.get("spodes").lockout.attempts == 5
    assert BUILT_IN.get("generic").lockout.attempts == 0
