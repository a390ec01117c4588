"""GET_TOU reads what SET_TOU takes."""

import pytest
from tests.commands.calendars import set_tou
from tests.commands.fake_calendar_meter import calendar_meter
from tests.commands.fake_session import run

from metercast.domain.outcome import How


async def test_both_calendars_and_the_activation_time() -> None:
    session = calendar_meter()
    await run(session, "SET_TOU", set_tou(activation={"mode": "at", "at": "2027-01-01T00:00:00Z"}))
    session.log.clear()
    outcome = await run(session, "GET_TOU")
    assert outcome.how is How.DONE
    assert outcome.result["active"]["calendarName"] == "OLD"
    assert outcome.result["passive"]["calendarName"] == "TOU26"
    assert outcome.result["activationTime"] == "2027-01-01T00:00:00"
    assert session.log == [f"get 20/{index}" for index in range(2, 11)]


async def test_what_is_read_can_be_set() -> None:
    session = calendar_meter()
    read = (await run(session, "GET_TOU", {"which": "active"})).result["active"]
    await run(session, "SET_TOU", {**read, "calendarName": "NEW", "activation": {"mode": "immediate"}})
    again = (await run(session, "GET_TOU", {"which": "active"})).result["active"]
    assert again == {**read, "calendarName": "NEW"}


@pytest.mark.parametrize(("which", "indexes"), [("active", range(2, 6)), ("passive", range(6, 11))])
async def test_one_calendar_only(which: str, indexes: range) -> None:
    session = calendar_meter()
    await run(session, "GET_TOU", {"which": which})
    assert session.log == [f"get 20/{index}" for index in indexes]
