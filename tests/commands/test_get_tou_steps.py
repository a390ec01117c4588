"""GET_TOU reads what SET_TOU takes."""

import pytest
from tests.commands.calendars import set_tou
from tests.commands.fake_calendar_meter import calendar_meter
from tests.commands.fake_session import FakeSession, attribute, run
from tests.commands.test_set_special_days_steps import OBIS as SPECIAL_DAYS
from tests.commands.test_set_special_days_steps import table

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.dlms.data import NULL, Data, decode_whole
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

SCRIPTS = "0.0.10.0.100.255"
WITH_ALL = {"which": "active", "include": ["specialDays", "scripts"]}
NO_TABLE = MeterRefused(ErrorWord.OBJECT_UNDEFINED, f"GET class 9 {SCRIPTS} attribute 2: object-undefined (4)")


def whole_meter() -> FakeSession:
    """With a special day, and with one script that runs a method and one that writes."""
    session = calendar_meter()
    session.objects[attribute(11, SPECIAL_DAYS, 2)] = table((1, "*-12-25", 3))
    rows = [
        script(1, [Data.enum(2), Data.long_unsigned(70), Data.octets(bytes(6)), Data.integer(1), Data.integer(0)]),
        script(2, [Data.enum(1), Data.long_unsigned(1), Data.octets(bytes(6)), Data.integer(2), NULL]),
    ]
    session.objects[attribute(9, SCRIPTS, 2)] = Data.array(rows)
    return session


def script(number: int, action: list[Data]) -> Data:
    return Data.structure([Data.long_unsigned(number), Data.array([Data.structure(action)])])


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


async def test_special_days_and_scripts_where_asked_for() -> None:
    session = whole_meter()
    result = (await run(session, "GET_TOU", WITH_ALL)).result
    assert session.log == ["get 20/2", "get 20/3", "get 20/4", "get 20/5", "get 11/2", "get 9/2"]
    assert set(result) == {"active", "specialDays", "scripts"}
    assert result["specialDays"] == {"entries": [{"index": 1, "date": "*-12-25", "dayId": 3}]}
    runs = {"service": "execute", "class": 70, "obis": "0.0.0.0.0.0", "index": 1}
    writes = {"service": "write", "class": 1, "obis": "0.0.0.0.0.0", "index": 2}
    assert result["scripts"] == {
        "entries": [
            {"script": 1, "actions": [runs | {"parameter": {"tag": "integer", "value": 0}}]},
            {"script": 2, "actions": [writes | {"parameter": {"tag": "null-data"}}]},
        ]
    }


async def test_a_table_that_the_meter_lacks_has_its_own_error() -> None:
    session = whole_meter()
    session.fail["get 9/2"] = NO_TABLE
    outcome = await run(session, "GET_TOU", WITH_ALL | {"raw": True})
    assert outcome.how is How.DONE
    assert outcome.result["scripts"] == {"error": "ObjectUndefined", "errorDetail": NO_TABLE.detail}
    assert outcome.result["specialDays"]["entries"]
    assert [(each["class"], each["attribute"]) for each in outcome.result["raw"]] == [
        *((20, index) for index in range(2, 6)),
        (11, 2),
    ]


@pytest.mark.parametrize(("class_id", "obis", "name"), [(9, SCRIPTS, "scripts"), (11, SPECIAL_DAYS, "specialDays")])
@pytest.mark.parametrize("rubbish", [NULL, Data.array([NULL]), Data.array([Data.structure([NULL, NULL])])])
async def test_a_table_that_is_none_has_its_own_error(class_id: int, obis: str, name: str, rubbish: Data) -> None:
    session = whole_meter()
    session.objects[attribute(class_id, obis, 2)] = rubbish
    outcome = await run(session, "GET_TOU", WITH_ALL)
    assert outcome.how is How.DONE
    assert outcome.result[name]["error"] == "InvalidResponse"
    assert outcome.result["active"]["calendarName"] == "OLD"


async def test_without_the_calendar_the_command_fails() -> None:
    session = whole_meter()
    session.fail["get 20/5"] = MeterRefused(ErrorWord.READ_WRITE_DENIED, "denied")
    with pytest.raises(MeterRefused, match="denied"):
        await run(session, "GET_TOU", WITH_ALL)


async def test_the_octets_of_each_attribute() -> None:
    session = whole_meter()
    raw = (await run(session, "GET_TOU", {"include": ["specialDays"], "raw": True})).result["raw"]
    read = {attribute(each["class"], each["obis"], each["attribute"]): each["hex"] for each in raw}
    assert len(read) == 9 + 1
    assert read[attribute(20, "0.0.13.0.0.255", 2)] == "09034f4c44"
    for each, octets in read.items():
        assert decode_whole(bytes.fromhex(octets)) == session.objects[each]


async def test_octets_of_a_calendar_that_does_not_decode() -> None:
    session = whole_meter()
    session.objects[attribute(20, "0.0.13.0.0.255", 4)] = NULL
    with pytest.raises(StepFailed) as failed:
        await run(session, "GET_TOU", {"which": "active", "raw": True})
    assert failed.value.error is ErrorWord.INVALID_RESPONSE
    assert [each["hex"] for each in failed.value.result["raw"]][2] == "00"


async def test_what_can_be_included() -> None:
    with pytest.raises(InvalidField, match="include"):
        await run(calendar_meter(), "GET_TOU", {"include": ["tariffs"]})
