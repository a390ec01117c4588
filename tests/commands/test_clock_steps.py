"""READ_CLOCK and SYNC_CLOCK: what is shown, when nothing is changed, and what goes on the wire."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.commands.fake_session import NOW, FakeSession, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.datetimes import CosemDateTime
from metercast.domain.outcome import How, Phase
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord


class ClockMeter(FakeSession):
    """A clock that runs with the session's own, `ahead` seconds before it; tag and zone as told."""

    def __init__(self, ahead: float, zone: str = "Europe/Istanbul") -> None:
        super().__init__({}, zone)
        self.ahead = ahead
        self.zone = ZoneInfo(zone)
        self.fixed: Data | None = None
        self.actions["8/6"] = self._shift

    def value_of(self, attribute: CosemAttribute) -> Data:
        instant = (self.clock + timedelta(seconds=self.ahead)).astimezone(self.zone)
        return self.fixed or Data.octets(CosemDateTime.from_datetime(instant).encode())

    def store(self, attribute: CosemAttribute, value: Data, /) -> None:
        self.fixed = None
        self.ahead = (CosemDateTime.decode(value.octet_string(12)).to_datetime() - self.clock).total_seconds()

    def _shift(self, parameter: Data | None) -> None:
        assert parameter is not None
        assert -900 <= parameter.number() <= 900
        self.ahead += parameter.number()


async def test_read_clock_tells_time_status_and_difference() -> None:
    session = ClockMeter(3.5)
    outcome = await run(session, "READ_CLOCK")
    assert session.apdus == ["c001c100080000010000ff0200"]
    assert outcome.how is How.DONE
    assert outcome.result == {
        "time": "2026-09-17T12:15:09.500000+03:00",
        "deviationMinutes": -180,
        "status": {
            "invalidValue": False,
            "doubtfulValue": False,
            "differentBase": False,
            "invalidStatus": False,
            "daylightSaving": False,
        },
        "reference": "2026-09-17T09:15:06.000+00:00",
        "differenceSeconds": 3.5,
        "uncertaintySeconds": 0.0,
    }


async def test_the_reference_is_the_middle_of_request_and_answer() -> None:
    session = ClockMeter(0.0)
    session.latency = 4.0
    outcome = await run(session, "READ_CLOCK")
    assert outcome.result["uncertaintySeconds"] == 2.0
    assert outcome.result["reference"] == "2026-09-17T09:15:08.000+00:00"
    assert outcome.result["differenceSeconds"] == 0.0


@pytest.mark.parametrize(
    ("octets", "time", "difference"),
    [
        ("07ea0911040c0f06ff8000ff", "2026-09-17T12:15:06+03:00", 0.0),  # the record's zone fills in
        ("07ea0911ff090f06ff000000", "2026-09-17T09:15:06+00:00", 0.0),
        ("ffffffffffffffffff8000ff", "*-*-* *:*:*", None),
        ("07ea0d11ff090f06ff000000", "2026-13-17 09:15:06 deviation 0 status 00", None),
    ],
)
async def test_read_clock_of_other_forms(octets: str, time: str, difference: float | None) -> None:
    session = ClockMeter(0)
    session.fixed = Data.octets(bytes.fromhex(octets))
    result = (await run(session, "READ_CLOCK")).result
    assert (result["time"], result["differenceSeconds"]) == (time, difference)


@pytest.mark.parametrize("answer", [Data.unsigned(1), Data.octets(b"\x00"), Data.null(), Data.array([])])
async def test_an_answer_that_is_no_time(answer: Data) -> None:
    session = ClockMeter(0)
    session.fixed = answer
    with pytest.raises(StepFailed) as caught:
        await run(session, "READ_CLOCK")
    assert caught.value.error is ErrorWord.INVALID_RESPONSE


async def test_within_the_threshold_nothing_is_changed() -> None:
    session = ClockMeter(4.9)
    outcome = await run(session, "SYNC_CLOCK")
    assert (outcome.how, outcome.phase) == (How.ALREADY_SO, Phase.READING)
    assert session.log == ["get 8/2"]


async def test_golden_apdu_of_a_set() -> None:
    session = ClockMeter(-5000)
    outcome = await run(session, "SYNC_CLOCK", {"strategy": "set"})
    assert session.apdus[1] == "c101c100080000010000ff0200090c07ea0911ff0c0f0600ff4c00"
    assert (outcome.how, outcome.result["strategy"]) == (How.DONE, "set")
    assert outcome.result["before"]["differenceSeconds"] == -5000
    assert outcome.result["after"]["differenceSeconds"] == 0


async def test_golden_apdu_of_a_shift() -> None:
    session = ClockMeter(30)
    outcome = await run(session, "SYNC_CLOCK")
    assert session.apdus[1] == "c301c100080000010000ff060110ffe2"
    assert (outcome.how, outcome.result["strategy"]) == (How.DONE, "shift")
    assert session.log == ["get 8/2", "action 8/6", "get 8/2"]


@pytest.mark.parametrize(
    ("ahead", "strategy", "change"),
    [
        (900, "auto", "action 8/6"),
        (-900, "auto", "action 8/6"),
        (901, "auto", "set 8/2"),
        (901, "set", "set 8/2"),
        (10, "set", "set 8/2"),
        (-899.6, "shift", "action 8/6"),
    ],
)
async def test_strategies(ahead: float, strategy: str, change: str) -> None:
    session = ClockMeter(ahead)
    outcome = await run(session, "SYNC_CLOCK", {"strategy": strategy})
    assert session.changes == [change]
    assert outcome.how is How.DONE


async def test_a_clock_in_daylight_saving_time_is_set_with_its_bit() -> None:
    session = ClockMeter(-5000, "Europe/Amsterdam")
    await run(session, "SYNC_CLOCK", {"strategy": "set"})
    assert session.apdus[1].endswith("090c07ea0911ff0b0f0600ff8880")


async def test_the_value_carries_half_the_round_trip() -> None:
    session = ClockMeter(-5000)
    session.latency = 10.0
    outcome = await run(session, "SYNC_CLOCK", {"strategy": "set", "toleranceSeconds": 0})
    assert outcome.result["after"]["differenceSeconds"] == 0
    # read ends at 09:15:16, half of 10 s is added
    assert session.apdus[1].endswith("090c07ea0911ff0c0f1500ff4c00")


async def test_auto_sets_where_the_meter_has_no_shift() -> None:
    session = ClockMeter(30)
    session.fail["action 8/6"] = MeterRefused(ErrorWord.OBJECT_UNDEFINED, "no such method")
    outcome = await run(session, "SYNC_CLOCK")
    assert session.changes == ["action 8/6", "set 8/2"]
    assert outcome.result["strategy"] == "set"


@pytest.mark.parametrize(
    ("strategy", "word"), [("shift", ErrorWord.OBJECT_UNDEFINED), ("auto", ErrorWord.TEMPORARY_FAILURE)]
)
async def test_a_refused_shift_that_is_not_replaced(strategy: str, word: ErrorWord) -> None:
    session = ClockMeter(30)
    session.fail["action 8/6"] = MeterRefused(word, "refused")
    with pytest.raises(MeterRefused) as caught:
        await run(session, "SYNC_CLOCK", {"strategy": strategy})
    assert caught.value.error is word
    assert session.changes == ["action 8/6"]


async def test_a_lost_answer_to_a_shift_is_not_followed_by_a_set() -> None:
    session = ClockMeter(30)
    session.fail["action 8/6"] = StepFailed(ErrorWord.TIMEOUT, "no answer")
    with pytest.raises(StepFailed):
        await run(session, "SYNC_CLOCK")
    assert session.log == ["get 8/2", "action 8/6"]


@pytest.mark.parametrize(
    ("ahead", "raw", "reason"),
    [
        (901, {"strategy": "shift"}, "a shift reaches 900 s"),
        (61, {"maxDeltaSeconds": 60}, "more than maxDeltaSeconds 60"),
    ],
)
async def test_differences_that_are_left_alone(ahead: float, raw: dict[str, Any], reason: str) -> None:
    session = ClockMeter(ahead)
    with pytest.raises(StepFailed) as caught:
        await run(session, "SYNC_CLOCK", raw)
    assert caught.value.error is ErrorWord.CLOCK_UNCERTAIN
    assert reason in caught.value.detail
    assert caught.value.result["before"]["differenceSeconds"] == ahead
    assert session.changes == []


async def test_a_round_trip_too_long_to_be_sure() -> None:
    session = ClockMeter(30)
    session.latency = 61.0
    with pytest.raises(StepFailed) as caught:
        await run(session, "SYNC_CLOCK")
    assert caught.value.error is ErrorWord.CLOCK_UNCERTAIN
    assert session.changes == []


async def test_an_invalid_clock_is_set_and_never_shifted() -> None:
    invalid = Data.octets(bytes.fromhex("07ea0911ff090f06ff000001"))
    session = ClockMeter(0)
    session.fixed = invalid
    outcome = await run(session, "SYNC_CLOCK")
    assert session.changes == ["set 8/2"]
    assert outcome.how is How.DONE
    session = ClockMeter(0)
    session.fixed = invalid
    with pytest.raises(StepFailed) as caught:
        await run(session, "SYNC_CLOCK", {"strategy": "shift"})
    assert caught.value.error is ErrorWord.CLOCK_UNCERTAIN
    assert session.changes == []


async def test_a_clock_that_does_not_move_fails_verification() -> None:
    session = ClockMeter(30)
    session.actions["8/6"] = lambda parameter: None
    with pytest.raises(StepFailed) as caught:
        await run(session, "SYNC_CLOCK")
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert "+30.000 s" in caught.value.detail
    assert session.log.count("action 8/6") == 1


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"strategy": "jump"}, "commandParams.strategy"),
        ({"thresholdSeconds": -1}, "commandParams.thresholdSeconds"),
        ({"thresholdSeconds": 10, "maxDeltaSeconds": 5}, "commandParams.maxDeltaSeconds"),
        ({"tolerance": 1}, "commandParams.tolerance"),
        ({"obis": "0.0.1.0.0.999"}, "commandParams.obis"),
    ],
)
def test_parameters_that_are_refused(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_parameters(command_type("SYNC_CLOCK"), raw, NOW)
    assert caught.value.path == path


def test_the_object_may_be_another() -> None:
    parameters = parse_parameters(command_type("READ_CLOCK"), {"obis": "0.1.1.0.0.255"}, NOW)
    assert parameters.obis == "0.1.1.0.0.255"  # type: ignore[attr-defined]
