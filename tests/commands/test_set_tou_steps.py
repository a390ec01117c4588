"""SET_TOU's steps: their bytes, their order, and that nothing is activated before all was verified."""

from datetime import datetime, timedelta

import pytest
from tests.commands.calendars import CALENDAR, set_tou
from tests.commands.fake_calendar_meter import DISARMED, OBIS, calendar_meter, encoded
from tests.commands.fake_session import NOW, attribute, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, encode_data
from metercast.domain.outcome import How, Phase
from metercast.domain.words import ErrorWord

ARMED = Data.octets(bytes.fromhex("07ea0c1fff160000008000ff"))
WRITES = ["set 20/6", "set 20/7", "set 20/8", "set 20/9"]
READ_BACK = ["get 20/6", "get 20/7", "get 20/8", "get 20/9"]


def refused(word: ErrorWord = ErrorWord.TYPE_UNMATCHED) -> MeterRefused:
    return MeterRefused(word, f"the meter said {word.value}")


async def test_immediate_writes_verifies_activates_and_reads_back() -> None:
    session = calendar_meter()
    outcome = await run(session, "SET_TOU", set_tou())
    assert session.log == [
        "get 20/10",
        "get 20/2",  # the name differs, so the other active tables need no look
        *WRITES,
        *READ_BACK,
        "action 20/1",
        "get 20/2",
        "get 20/3",
        "get 20/4",
        "get 20/5",
    ]
    assert outcome.how is How.DONE
    active = outcome.result["active"]
    assert active["calendarName"] == "TOU26"
    assert active["weeks"] == CALENDAR["weeks"]
    assert active["days"] == CALENDAR["days"]


async def test_golden_apdus() -> None:
    session = calendar_meter()
    await run(session, "SET_TOU", set_tou(days=[CALENDAR["days"][0], {**CALENDAR["days"][0], "id": 2}]))
    sent = [apdu for apdu in session.apdus if not apdu.startswith("c0")]
    assert sent[:3] == [
        "c101c1001400000d0000ff06000905544f553236",
        "c101c1001400000d0000ff070001010203090131090cffff0401ff000000ff8000ff090131",
        "c101c1001400000d0000ff0800010102080901311101110111011101110111021102",
    ]
    assert sent[4] == "c301c1001400000d0000ff01010f00"


async def test_golden_apdu_of_the_day_profile() -> None:
    session = calendar_meter()
    week = [{"name": "1", "days": [1] * 7}]
    await run(session, "SET_TOU", set_tou("none", weeks=week, days=[CALENDAR["days"][0]]))
    golden = "c101c1001400000d0000ff090001010202110101010203090407000000090600000a0064ff120001"
    assert golden in session.apdus


async def test_golden_apdu_of_the_activation_time() -> None:
    session = calendar_meter("Europe/Amsterdam")
    outcome = await run(session, "SET_TOU", set_tou(activation={"mode": "at", "at": "2026-12-31T21:00:00Z"}))
    assert session.apdus[-2] == "c101c1001400000d0000ff0a00090c07ea0c1fff160000008000ff"
    assert outcome.how is How.SCHEDULED
    assert outcome.result["activationTime"] == "2026-12-31T22:00:00"


@pytest.mark.parametrize("service", WRITES)
async def test_a_failing_write_never_leads_to_activation(service: str) -> None:
    session = calendar_meter()
    session.fail[service] = refused()
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou())
    assert caught.value.error is ErrorWord.TYPE_UNMATCHED
    assert "nothing was activated" in caught.value.detail
    assert session.changes == WRITES  # the other three were tried, and nothing else


async def test_every_refused_write_is_told_and_a_permanent_word_wins() -> None:
    session = calendar_meter()
    session.fail["set 20/6"] = refused(ErrorWord.TEMPORARY_FAILURE)
    session.fail["set 20/8"] = refused(ErrorWord.READ_WRITE_DENIED)
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou())
    assert caught.value.error is ErrorWord.READ_WRITE_DENIED
    assert "TemporaryFailure" in caught.value.detail
    assert "ReadWriteDenied" in caught.value.detail


@pytest.mark.parametrize("service", [*WRITES, *READ_BACK])
async def test_a_broken_session_ends_the_steps_at_once(service: str) -> None:
    session = calendar_meter()
    session.fail[service] = StepFailed(ErrorWord.TIMEOUT, "no answer")
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou())
    assert caught.value.error is ErrorWord.TIMEOUT
    assert session.log[-1] == service
    assert "action 20/1" not in session.log


@pytest.mark.parametrize("index", [6, 7, 8, 9])
async def test_a_table_that_reads_back_otherwise_is_not_activated(index: int) -> None:
    session = calendar_meter()
    old = session.objects[attribute(20, OBIS, index)]
    other = encoded(set_tou("none", calendarName="X", weeks=[{"name": "1", "days": [2] * 7}]))[index - 6]
    store = session.store

    def keeps_something_else(target: CosemAttribute, value: Data) -> None:
        store(target, value)
        if target == attribute(20, OBIS, index):
            session.objects[target] = old if old != value else other

    session.store = keeps_something_else  # type: ignore[method-assign]
    if index in (7, 9):  # the old tables are the same there
        session.objects[attribute(20, OBIS, index)] = old = Data.array([])
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou(weeks=[{"name": "1", "days": [2] * 7}]))
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert "nothing was activated: passive" in caught.value.detail
    assert "action 20/1" not in session.log
    assert caught.value.result["passive"]["nameEncoding"] == "ascii"


async def test_read_back_that_is_no_table_is_an_invalid_response() -> None:
    session = calendar_meter()
    session.objects[attribute(20, OBIS, 10)] = Data.octets(b"\x01\x02")
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou())
    assert caught.value.error is ErrorWord.INVALID_RESPONSE
    assert session.changes == []


async def test_already_active_changes_nothing() -> None:
    session = calendar_meter()
    await run(session, "SET_TOU", set_tou())
    session.log.clear()
    outcome = await run(session, "SET_TOU", set_tou())
    assert (outcome.how, outcome.phase) == (How.ALREADY_SO, Phase.READING)
    assert session.changes == []
    assert outcome.result["active"]["calendarName"] == "TOU26"


async def test_same_name_with_other_tables_is_written() -> None:
    session = calendar_meter()
    await run(session, "SET_TOU", set_tou())
    session.log.clear()
    await run(session, "SET_TOU", set_tou(weeks=[{"name": "1", "days": [2] * 7}]))
    assert session.changes == [*WRITES, "action 20/1"]


async def test_an_armed_activation_is_taken_away_first_and_verified() -> None:
    session = calendar_meter(armed=ARMED)
    await run(session, "SET_TOU", set_tou())
    assert session.log[:3] == ["get 20/10", "set 20/10", "get 20/10"]
    assert session.apdus[1] == "c101c1001400000d0000ff0a00090c" + "ffffffffffffffffff8000ff"
    assert session.changes == ["set 20/10", *WRITES, "action 20/1"]


async def test_an_activation_that_stays_armed_stops_the_command() -> None:
    session = calendar_meter(armed=ARMED)
    session.store = lambda target, value: None  # type: ignore[method-assign]
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou())
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert "is still 2026-12-31T22:00:00" in caught.value.detail
    assert session.changes == ["set 20/10"]


@pytest.mark.parametrize(
    "nothing", [DISARMED, Data.null(), Data.octets(b""), Data.octets(bytes(12)), Data.date_time(DISARMED.value)]
)
async def test_what_meters_hold_that_were_never_armed(nothing: Data) -> None:
    session = calendar_meter(armed=nothing)
    await run(session, "SET_TOU", set_tou())
    assert "set 20/10" not in session.log


async def test_some_meters_need_a_moment_after_the_activation() -> None:
    session = calendar_meter()
    activate = session.actions["20/1"]
    session.actions["20/1"] = lambda parameter: None
    session.on_sleep = lambda: (activate(Data.integer(0)), None)[1] if len(session.slept) == 3 else None
    outcome = await run(session, "SET_TOU", set_tou())
    assert outcome.how is How.DONE
    assert session.slept == [2.0, 2.0, 2.0]
    assert session.log.count("action 20/1") == 1


async def test_a_temporary_failure_while_the_meter_activates_is_looked_at_again() -> None:
    session = calendar_meter()
    session.fail["get 20/3"] = [refused(ErrorWord.TEMPORARY_FAILURE)]
    outcome = await run(session, "SET_TOU", set_tou())
    assert outcome.how is How.DONE
    assert session.slept == [2.0]


async def test_an_activation_without_effect_fails_and_is_not_repeated() -> None:
    session = calendar_meter()
    session.actions["20/1"] = lambda parameter: None
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou())
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert "calendar name is 'OLD', not 'TOU26'" in caught.value.detail
    assert caught.value.result["active"]["calendarName"] == "OLD"
    assert session.log.count("action 20/1") == 1


async def test_a_refused_activation_is_told() -> None:
    session = calendar_meter()
    session.fail["action 20/1"] = refused(ErrorWord.READ_WRITE_DENIED)
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou())
    assert caught.value.error is ErrorWord.READ_WRITE_DENIED


async def test_mode_none_writes_and_verifies_the_passive_calendar_only() -> None:
    session = calendar_meter()
    outcome = await run(session, "SET_TOU", set_tou("none"))
    assert session.log == ["get 20/10", *WRITES, *READ_BACK]
    assert outcome.how is How.DONE
    assert outcome.result["passive"]["calendarName"] == "TOU26"


async def test_mode_disarm_touches_attribute_10_only() -> None:
    session = calendar_meter(armed=ARMED)
    outcome = await run(session, "SET_TOU", {"activation": {"mode": "disarm"}})
    assert session.log == ["get 20/10", "set 20/10", "get 20/10"]
    assert (outcome.how, outcome.result) == (How.DONE, {"activationTime": None})
    outcome = await run(session, "SET_TOU", {"activation": {"mode": "disarm"}})
    assert outcome.how is How.ALREADY_SO


async def test_at_arms_last_and_reads_it_back() -> None:
    session = calendar_meter()
    outcome = await run(session, "SET_TOU", set_tou(activation={"mode": "at", "at": "2027-01-01T00:00:00Z"}))
    assert session.log == ["get 20/10", *WRITES, *READ_BACK, "set 20/10", "get 20/10"]
    assert outcome.how is How.SCHEDULED
    assert outcome.result["passive"]["calendarName"] == "TOU26"


async def test_at_that_is_armed_already_changes_nothing() -> None:
    session = calendar_meter()
    raw = set_tou(activation={"mode": "at", "at": "2027-01-01T00:00:00Z"})
    await run(session, "SET_TOU", raw)
    session.log.clear()
    outcome = await run(session, "SET_TOU", raw)
    assert outcome.how is How.SCHEDULED
    assert session.changes == []


async def test_at_with_another_time_armed_disarms_first() -> None:
    session = calendar_meter(armed=ARMED)
    await run(session, "SET_TOU", set_tou(activation={"mode": "at", "at": "2027-01-01T00:00:00Z"}))
    assert session.changes == ["set 20/10", *WRITES, "set 20/10"]


@pytest.mark.parametrize("service", WRITES)
async def test_at_with_a_failing_write_arms_nothing(service: str) -> None:
    session = calendar_meter()
    session.fail[service] = refused()
    with pytest.raises(StepFailed):
        await run(session, "SET_TOU", set_tou(activation={"mode": "at", "at": "2027-01-01T00:00:00Z"}))
    assert "set 20/10" not in session.log


async def test_at_that_the_meter_does_not_keep() -> None:
    session = calendar_meter()
    store = session.store

    def forgets(target: CosemAttribute, value: Data) -> None:
        store(target, value)
        session.objects[attribute(20, OBIS, 10)] = DISARMED

    session.store = forgets  # type: ignore[method-assign]
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TOU", set_tou(activation={"mode": "at", "at": "2027-01-01T00:00:00Z"}))
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED


async def test_a_local_time_is_of_the_meters_own_zone() -> None:
    session = calendar_meter("Asia/Kolkata")
    raw = set_tou(activation={"mode": "at", "at": {"local": "2027-01-01T00:00:00"}})
    await run(session, "SET_TOU", raw)
    armed = session.objects[attribute(20, OBIS, 10)]
    assert encode_data(armed).hex() == "090c07eb0101ff000000008000ff"


@pytest.mark.parametrize(
    ("at", "octets"),
    [
        ("2027-10-31T00:30:00Z", "07eb0a1fff021e0000ff8880"),
        ("2027-10-31T01:30:00Z", "07eb0a1fff021e0000ffc400"),
    ],
)
async def test_only_an_hour_that_comes_twice_is_written_with_its_deviation(at: str, octets: str) -> None:
    session = calendar_meter("Europe/Amsterdam")
    await run(session, "SET_TOU", set_tou(activation={"mode": "at", "at": at}))
    value = session.objects[attribute(20, OBIS, 10)].value.hex()
    assert value == octets


async def test_a_time_that_passed_meanwhile_is_not_armed() -> None:
    session = calendar_meter()
    raw = set_tou(activation={"mode": "at", "at": "2026-09-17T10:00:00Z"})
    command = command_type("SET_TOU")
    parameters = parse_parameters(command, raw, NOW)
    session.clock = NOW + timedelta(hours=1)
    with pytest.raises(StepFailed) as caught:
        await command.perform(session, parameters)
    assert caught.value.error is ErrorWord.EXPIRED
    assert session.changes == []


async def test_a_time_that_passed_and_came_true_is_a_success() -> None:
    session = calendar_meter()
    command = command_type("SET_TOU")
    at = datetime.fromisoformat("2026-09-17T10:00:00+00:00")
    parameters = parse_parameters(command, set_tou(activation={"mode": "at", "at": at.isoformat()}), NOW)
    assert (await command.perform(session, parameters)).how is How.SCHEDULED
    session.actions["20/1"](Data.integer(0))
    session.clock = at + timedelta(seconds=1)
    session.log.clear()
    assert (await command.perform(session, parameters)).how is How.ALREADY_SO
    assert session.changes == []
