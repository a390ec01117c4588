"""VERIFY_TOU reads and compares; and what SET_TOU leaves to the meters is followed up by it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.commands.calendars import CALENDAR, set_tou
from tests.commands.fake_calendar_meter import calendar_meter
from tests.commands.fake_session import run

from metercast.commands.contract import StepFailed
from metercast.commands.registry import command_type, parse_parameters
from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord

NOW = datetime(2026, 9, 17, 9, tzinfo=UTC)
AT = "2027-01-01T00:00:00+01:00"


async def test_the_same_calendar_is_a_success_and_nothing_is_changed() -> None:
    meter = calendar_meter()
    await run(meter, "SET_TOU", set_tou())
    changes = list(meter.changes)
    outcome = await run(meter, "VERIFY_TOU", CALENDAR)
    assert outcome.how is How.DONE
    assert outcome.result["active"]["calendarName"] == "TOU26"
    assert meter.changes == changes


async def test_another_calendar_is_named_with_what_is_still_armed() -> None:
    meter = calendar_meter()
    assert (await run(meter, "SET_TOU", set_tou(activation={"mode": "at", "at": AT}))).how is How.SCHEDULED
    with pytest.raises(StepFailed) as failed:
        await run(meter, "VERIFY_TOU", CALENDAR)
    assert failed.value.error is ErrorWord.VERIFICATION_FAILED
    assert "still armed for 2026-12-31T23:00:00" in failed.value.detail
    assert failed.value.result["activationTime"] == "2026-12-31T23:00:00"


def follow_up(name: str, raw: dict[str, Any]) -> Any:
    return command_type(name).follow_up_of(parse_parameters(command_type(name), raw, NOW))


def test_what_is_left_to_the_meters_is_followed_up() -> None:
    for mode in ("immediate", "none"):
        assert follow_up("SET_TOU", set_tou(mode)) is None
    assert follow_up("SET_TOU", {"activation": {"mode": "disarm"}}) is None
    found = follow_up("SET_TOU", set_tou(activation={"mode": "at", "at": AT}, obis="0.0.13.0.1.255"))
    assert found.due_at == datetime.fromisoformat(AT) + timedelta(minutes=15)
    parse_parameters(command_type(found.command_type), found.command_params, NOW)
    assert found.command_params["obis"] == "0.0.13.0.1.255"
    local = follow_up("SET_TOU", set_tou(activation={"mode": "at", "at": {"local": "2027-01-01T00:00:00"}}))
    assert local.due_at == datetime(2027, 1, 1, 12, 15, tzinfo=UTC), "also at UTC-12"


def test_a_bundle_is_followed_up_by_what_its_last_member_left() -> None:
    parameters = set_tou(activation={"mode": "at", "at": AT})
    later = {"command": "SET_TOU", "parameters": parameters}
    disarm = {"command": "SET_TOU", "parameters": {"activation": {"mode": "disarm"}}}
    assert follow_up("BUNDLE", {"commands": [{"command": "READ_CLOCK"}, later]}).command_type == "VERIFY_TOU"
    assert follow_up("BUNDLE", {"commands": [{"command": "READ_CLOCK"}]}) is None
    assert follow_up("BUNDLE", {"commands": [disarm, later]}) == follow_up("SET_TOU", parameters)
