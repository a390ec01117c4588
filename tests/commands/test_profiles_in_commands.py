"""What commands take from the meter's profile, where no simulated meter is needed to see it."""

from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.commands.fake_calendar_meter import calendar_meter
from tests.commands.fake_session import FakeSession, attribute, run
from tests.commands.test_billing_reset_steps import BillingMeter
from tests.commands.test_relay_steps import RelayMeter

from metercast.commands.contract import StepFailed
from metercast.dlms.data import Data
from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.profiles.draft import check_draft
from metercast.profiles.model import Profile


def acme(text: str) -> Profile:
    return check_draft("acme", f'extends = "generic"\n{text}').profile


async def refused(session: FakeSession, name: str, raw: dict[str, Any]) -> str:
    """The detail of ProfileLimit; nothing was changed."""
    with pytest.raises(StepFailed) as caught:
        await run(session, name, raw)
    assert caught.value.error is ErrorWord.PROFILE_LIMIT
    assert session.changes == []
    return caught.value.detail


@pytest.mark.parametrize(
    ("rules", "changes", "told"),
    [
        ("max_seasons = 1", {"seasons": 2}, "2 seasons, the meter's profile allows 1"),
        ("max_weeks = 1", {"weeks": 2}, "2 weeks, the meter's profile allows 1"),
        ("max_days = 1", {}, "2 days, the meter's profile allows 1"),
        ("max_day_actions = 1", {}, "2 actions in a day, the meter's profile allows 1"),
        ("max_calendar_name_octets = 4", {}, "the calendar's name 'TOU26', the profile allows 4 octets"),
        ("max_profile_name_octets = 1", {"names": "AB"}, "the season's name 'AB', the profile allows 1 octets"),
        ('profile_names = "digit"', {"names": "A"}, "the week's name 'A', the profile asks for one digit"),
    ],
)
async def test_every_limit_of_a_calendar(rules: str, changes: dict[str, Any], told: str) -> None:
    calendar = set_tou()
    name = changes.get("names", "1")
    seasons = [
        {"name": name if month == 4 else f"{month}", "start": {"month": month, "day": 1}, "week": name}
        for month in range(4, 4 + changes.get("seasons", 1))
    ]
    weeks = [
        {"name": name if number == 0 else f"{number + 1}", "days": [1, 1, 1, 1, 1, 2, 2]}
        for number in range(changes.get("weeks", 1))
    ]
    calendar |= {"seasons": seasons, "weeks": weeks}
    session = calendar_meter()
    session.profile = acme(f"[calendar]\n{rules}\n")
    assert told in await refused(session, "SET_TOU", calendar)
    assert session.log == []
    session.profile = acme("")
    assert (await run(session, "SET_TOU", calendar)).how is How.DONE


async def test_all_that_is_too_much_is_told_at_once() -> None:
    session = calendar_meter()
    session.profile = acme('[calendar]\nmax_days = 1\nmax_day_actions = 1\nprofile_names = "digit"\n')
    raw = set_tou(weeks=[{"name": "W", "days": [1, 1, 1, 1, 1, 2, 2]}])
    raw["seasons"] = [{"name": "S", "start": {"month": 4, "day": 1}, "week": "W"}]
    assert (await refused(session, "SET_TOU", raw)).count(";") == 3


async def test_the_usual_script_table_of_a_day() -> None:
    session = calendar_meter()
    session.profile = acme('[objects]\ntariff_scripts = "0.0.10.0.101.255"\n')
    days: list[dict[str, Any]] = [
        {"id": 1, "schedule": [{"start": "06:00:00", "selector": 1}]},
        {"id": 2, "schedule": [{"start": "06:00:00", "script": "0.0.10.0.100.255", "selector": 1}]},
    ]
    result = (await run(session, "SET_TOU", set_tou(days=days))).result
    scripts = [day["schedule"][0]["script"] for day in result["active"]["days"]]
    assert scripts == ["0.0.10.0.101.255", "0.0.10.0.100.255"]


async def test_the_wait_after_an_activation_and_between_looks() -> None:
    session = calendar_meter()
    session.profile = acme("[delays]\nafter_activation = 30\nbetween_looks = 7\nlooks = 3\n")
    assert (await run(session, "SET_TOU", set_tou())).how is How.DONE
    assert session.slept == [30]
    slow = calendar_meter()
    slow.profile = session.profile
    slow.actions["20/1"] = lambda parameter: None  # it never becomes active
    with pytest.raises(StepFailed):
        await run(slow, "SET_TOU", set_tou())
    assert slow.slept == [30, 7, 7]


async def test_how_many_special_days_fit() -> None:
    session = FakeSession({(11, "0.0.11.0.0.255", 2): Data.array([])})
    session.profile = acme("[special_days]\nmax_entries = 1\n")
    entries = [{"index": index, "date": f"*-12-{index:02}", "dayId": 1} for index in (1, 2)]
    assert "2 special days, the meter's profile allows 1" in await refused(
        session, "SET_SPECIAL_DAYS", {"entries": entries}
    )
    assert (await run(session, "SET_SPECIAL_DAYS", {"entries": entries[:1]})).how is How.DONE
    merge = {"mode": "merge", "entries": entries[1:]}
    session.log.clear()
    await refused(session, "SET_SPECIAL_DAYS", merge)  # with the one that stands there already


@pytest.mark.parametrize("name", ["thresholdNormal", "thresholdEmergency"])
async def test_a_threshold_of_nothing(name: str) -> None:
    await refused(FakeSession({}), "SET_LIMITER", {name: 0})


async def test_what_control_modes_mean() -> None:
    """Mode 3, of a meter where a remote reconnect closes the output whatever the standard says."""
    usual = RelayMeter(3, 0)
    assert (await run(usual, "RECONNECT", {"verify": False})).how is How.ARMED
    other = RelayMeter(3, 0)
    other.profile = acme("[relay]\ndirect_modes = [2, 3, 4, 7]\n")
    assert (await run(other, "RECONNECT", {"verify": False})).how is How.DONE
    fixed = RelayMeter(3, 1)
    fixed.profile = acme("[relay]\nfixed_modes = [0, 3]\n")
    with pytest.raises(StepFailed, match="is 3: the output is always connected"):
        await run(fixed, "DISCONNECT")
    waiting = RelayMeter(3, 2)
    assert (await run(waiting, "RECONNECT")).how is How.ARMED
    assert waiting.changes == []
    remote = RelayMeter(3, 2)
    remote.profile = acme("[relay]\nremote_from_ready_modes = [3, 7]\n")
    await run(remote, "RECONNECT", {"verify": False})
    assert remote.changes == ["action 70/2"]


async def test_the_script_that_closes_a_billing_period() -> None:
    for raw, script in (({}, 7), ({"scriptId": 3}, 3)):
        meter = BillingMeter(Data.unsigned(1))
        meter.profile = acme("[billing]\nscript_id = 7\n")
        meter.progress = {"value": 1, "bits": 8}
        await run(meter, "BILLING_RESET", raw)
        assert meter.apdus[1].endswith(f"0112{script:04x}")


async def test_what_is_instantaneous() -> None:
    session = FakeSession({(3, "1.0.9.7.0.255", 2): Data.unsigned(5)})
    session.objects[attribute(3, "1.0.9.7.0.255", 3)] = Data.structure([Data.integer(0), Data.enum(28)])
    session.profile = acme('[registers]\ninstantaneous = ["1.0.9.7.0.255"]\n')
    items = (await run(session, "READ_INSTANTANEOUS")).result["items"]
    assert [(item["obis"], str(item["value"]), item["unit"]) for item in items] == [("1.0.9.7.0.255", "5", "VA")]
