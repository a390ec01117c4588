"""SET_TIME on a fake meter: strategies, rules of local time, and answers that are lost."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.commands.fake_session import FakeSession, attribute, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.datetimes import CosemDateTime
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

OBIS = "0.0.1.0.0.255"
NEVER = Data.octets(CosemDateTime().encode())
AMSTERDAM = {
    3: Data.long(-60),
    5: Data.octets(bytes.fromhex("ffff03fe07020000008000ff")),
    6: Data.octets(bytes.fromhex("ffff0afe07030000008000ff")),
    7: Data.integer(60),
    8: Data.boolean(True),
}
PARTS: dict[str, Any] = {
    "utcOffsetMinutes": 60,
    "daylightSaving": {
        "begin": {"month": 3, "day": "last", "weekday": 7, "time": "02:00"},
        "end": {"month": 10, "day": "last", "weekday": 7, "time": "03:00:00"},
        "deviationMinutes": 60,
        "enabled": True,
    },
}


class ClockMeter(FakeSession):
    """A clock `ahead` seconds before the session's own, in UTC, without daylight saving."""

    def __init__(self, ahead: float, zone: str = "Europe/Amsterdam") -> None:
        rules = {3: Data.long(0), 5: NEVER, 6: NEVER, 7: Data.integer(0), 8: Data.boolean(False)}
        super().__init__({(8, OBIS, index): value for index, value in rules.items()}, zone)
        self.ahead = ahead
        self.preset: list[Data] = []
        self.actions = {"8/3": self._minute, "8/4": self._use_preset, "8/5": self._preset}
        self.invalid = False

    @property
    def rules(self) -> dict[int, Data]:
        return {index: self.objects[attribute(8, OBIS, index)] for index in (3, 5, 6, 7, 8)}

    def value_of(self, attribute: CosemAttribute) -> Data:
        if attribute.index != 2:
            return super().value_of(attribute)
        value = CosemDateTime.from_datetime(self.clock + timedelta(seconds=self.ahead))
        return Data.octets((replace(value, status=1) if self.invalid else value).encode())

    def store(self, attribute: CosemAttribute, value: Data, /) -> None:
        if attribute.index != 2:
            return super().store(attribute, value)
        self.invalid = False
        self.ahead = self._seconds_ahead(value)
        return None

    def _seconds_ahead(self, value: Data) -> float:
        return (CosemDateTime.decode(value.octet_string(12)).to_datetime() - self.clock).total_seconds()

    def _minute(self, parameter: Data | None) -> None:
        dial = self.clock.timestamp() + self.ahead
        self.ahead += (dial + 30) // 60 * 60 - dial

    def _preset(self, parameter: Data | None) -> None:
        assert parameter is not None
        self.preset = parameter.elements(3)

    def _use_preset(self, parameter: Data | None) -> None:
        moment, start, end = (self._seconds_ahead(value) for value in self.preset)
        if not start <= self.ahead <= end:
            raise MeterRefused(ErrorWord.OTHER_REASON, "outside the validity interval")
        self.preset, self.ahead = [], moment


async def test_the_rules_of_the_records_zone_and_then_the_time() -> None:
    session = ClockMeter(-150)
    outcome = await run(session, "SET_TIME", {"zone": {"name": "record"}})
    assert outcome.how is How.DONE
    assert session.rules == AMSTERDAM
    assert session.changes == ["set 8/3", "set 8/5", "set 8/6", "set 8/7", "set 8/8", "set 8/2"]
    assert session.apdus[-2] == "c101c100080000010000ff0200090c07ea0911ff0b0f0600ff8880"
    assert session.ahead == 0
    assert outcome.result["zone"]["daylightSaving"]["begin"] == "*-03-last 02:00:00"
    assert (outcome.result["before"]["differenceSeconds"], outcome.result["after"]["differenceSeconds"]) == (-150, 0)
    again = await run(session, "SET_TIME", {"zone": {"name": "Europe/Amsterdam"}})
    assert again.how is How.ALREADY_SO


async def test_the_rules_in_parts_are_those_of_the_zone() -> None:
    session = ClockMeter(-150)
    outcome = await run(session, "SET_TIME", {"strategy": "keep", "zone": PARTS})
    assert (session.rules, session.ahead, outcome.how) == (AMSTERDAM, -150, How.DONE)
    assert "before" not in outcome.result
    assert (
        await run(session, "SET_TIME", {"strategy": "keep", "zone": {"name": "Europe/Paris"}})
    ).how is How.ALREADY_SO


async def test_what_is_to_be_off_is_switched_off_first() -> None:
    session = ClockMeter(0)
    await run(session, "SET_TIME", {"zone": {"name": "record"}})
    session.log.clear()
    await run(session, "SET_TIME", {"zone": {"name": "Asia/Kolkata"}})
    assert session.changes == ["set 8/8", "set 8/3"]
    assert session.rules[3] == Data.long(-330)
    assert session.rules[8] == Data.boolean(False)


async def test_what_a_meter_fills_in_is_no_difference() -> None:
    session = ClockMeter(0)
    await run(session, "SET_TIME", {"zone": {"name": "record"}})
    session.objects[attribute(8, OBIS, 5)] = Data.octets(bytes.fromhex("ffff03fe070200ffffffc400"))
    session.objects[attribute(8, OBIS, 3)] = Data.double_long(-60)
    assert (await run(session, "SET_TIME", {"zone": {"name": "record"}})).how is How.ALREADY_SO


@pytest.mark.parametrize("strategy", ["set", "preset", "minute"])
@pytest.mark.parametrize("latency", [0.0, 4.0])
@pytest.mark.parametrize("ahead", [-20.25, 20.25])
async def test_strategies(strategy: str, latency: float, ahead: float) -> None:
    session = ClockMeter(ahead)
    session.latency = latency
    outcome = await run(session, "SET_TIME", {"strategy": strategy})
    assert (outcome.how, outcome.result["strategy"]) == (How.DONE, strategy)
    assert abs(session.ahead) <= 0.5
    actions = {"set": ["set 8/2"], "preset": ["action 8/5", "action 8/4"], "minute": ["action 8/3"]}
    assert session.changes == actions[strategy]


@pytest.mark.parametrize("strategy", ["set", "preset", "minute"])
async def test_a_line_on_which_each_request_waits(strategy: str) -> None:
    session = ClockMeter(15)
    session.latency, session.send_delay = 2.0, 10.0
    outcome = await run(session, "SET_TIME", {"strategy": strategy})
    assert abs(session.ahead) <= 0.5
    assert outcome.result["before"]["differenceSeconds"] == 15
    assert outcome.result["before"]["uncertaintySeconds"] == 1


@pytest.mark.parametrize("strategy", ["set", "preset"])
@pytest.mark.parametrize("ahead", [-400_000_000.0, 86_400.0])
async def test_a_clock_that_is_far_off(strategy: str, ahead: float) -> None:
    session = ClockMeter(ahead)
    await run(session, "SET_TIME", {"strategy": strategy})
    assert abs(session.ahead) <= 0.5


@pytest.mark.parametrize("strategy", ["set", "preset"])
async def test_an_invalid_clock_is_set(strategy: str) -> None:
    session = ClockMeter(0)
    session.invalid = True
    session.actions["8/4"] = lambda parameter: session.store(attribute(8, OBIS, 2), session.preset[0])
    assert (await run(session, "SET_TIME", {"strategy": strategy})).how is How.DONE
    assert not session.invalid


@pytest.mark.parametrize("invalid", [True, False])
async def test_the_nearest_minute_must_be_the_right_one(invalid: bool) -> None:
    session = ClockMeter(29.5)
    session.invalid = invalid
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TIME", {"strategy": "minute"})
    assert caught.value.error is ErrorWord.CLOCK_UNCERTAIN
    assert session.changes == []


async def test_a_link_that_is_too_slow() -> None:
    session = ClockMeter(100)
    session.latency = 61
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_TIME", {})
    assert caught.value.error is ErrorWord.CLOCK_UNCERTAIN
    assert session.changes == []
    assert (await run(session, "SET_TIME", {"maxUncertaintySeconds": 60})).how is How.DONE


class Forgets(ClockMeter):
    def store(self, attribute: CosemAttribute, value: Data, /) -> None:
        """Writes are answered and lost."""


@pytest.mark.parametrize("raw", [{}, {"strategy": "keep", "zone": PARTS}])
async def test_a_read_back_that_differs_fails(raw: dict[str, Any]) -> None:
    with pytest.raises(StepFailed) as caught:
        await run(Forgets(100), "SET_TIME", raw)
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert caught.value.result["zone" if raw else "after"] is not None


@pytest.mark.parametrize(
    ("strategy", "lost"),
    [
        ("set", "set 8/3"),
        ("set", "set 8/5"),
        ("set", "set 8/8"),
        ("set", "get 8/2"),
        ("set", "set 8/2"),
        ("preset", "action 8/5"),
        ("preset", "action 8/4"),
        ("minute", "action 8/3"),
    ],
)
@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_is_made_good_by_the_next_session(strategy: str, lost: str, done: bool) -> None:
    session = ClockMeter(20)
    raw = {"strategy": strategy, "zone": {"name": "record"}}
    loses = _loses(session, lost) if done else None
    if not done:
        session.fail[lost] = [StepFailed(ErrorWord.TIMEOUT, "lost")]
    with pytest.raises(StepFailed):
        await run(session, "SET_TIME", raw)
    if loses is not None:
        loses()
    session.fail.clear()
    session.verify_first = True
    await run(session, "SET_TIME", raw)
    assert (session.rules, abs(session.ahead) <= 0.5) == (AMSTERDAM, True)
    assert (await run(session, "SET_TIME", raw)).how is How.ALREADY_SO


def _loses(session: ClockMeter, lost: str) -> Callable[[], None]:
    """The meter does it, and its answer does not come; returns what ends that."""
    service = lost.split()[0]
    real = getattr(session, service)

    async def losing(what: Any, *arguments: Any) -> Any:
        result = await real(what, *arguments)
        if session.log[-1] == lost:
            raise StepFailed(ErrorWord.TIMEOUT, "lost")
        return result

    setattr(session, service, losing)
    return lambda: setattr(session, service, real)


async def test_a_zone_of_the_record_that_no_meter_can_keep() -> None:
    with pytest.raises(StepFailed) as caught:
        await run(ClockMeter(0, "Africa/Casablanca"), "SET_TIME", {"zone": {"name": "record"}})
    assert caught.value.error is ErrorWord.SERVICE_NOT_SUPPORTED


def _change(**parts: Any) -> dict[str, Any]:
    return {"zone": {"daylightSaving": {"begin": {"month": 3, "day": 1, "time": "02:00"} | parts}}}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"strategy": "keep"}, "zone"),
        ({"strategy": "quarter"}, "strategy"),
        ({"zone": {}}, "zone"),
        ({"zone": {"daylightSaving": {}}}, "zone"),
        ({"zone": {"name": "Europe/Atlantis"}}, "zone.name"),
        ({"zone": {"name": "../etc/passwd"}}, "zone.name"),
        ({"zone": {"name": "Africa/Casablanca"}}, "zone.name"),
        ({"zone": {"name": "record", "utcOffsetMinutes": 60}}, "zone.name"),
        ({"zone": {"utcOffsetMinutes": 900}}, "zone.utcOffsetMinutes"),
        ({"zone": {"daylightSaving": {"deviationMinutes": 121}}}, "zone.daylightSaving.deviationMinutes"),
        (_change(time="25:00"), "zone.daylightSaving.begin.time"),
        (_change(time="2"), "zone.daylightSaving.begin.time"),
        (_change(day=32), "zone.daylightSaving.begin.day"),
        (_change(weekday=0), "zone.daylightSaving.begin.weekday"),
        ({"toleranceSeconds": -1}, "toleranceSeconds"),
        ({"obis": "0.0.1.0.0.256"}, "obis"),
    ],
)
async def test_what_will_not_do_is_refused_before_any_step(raw: dict[str, Any], path: str) -> None:
    session = ClockMeter(0)
    with pytest.raises(InvalidField) as caught:
        await run(session, "SET_TIME", raw)
    assert caught.value.path == f"commandParams.{path}"
    assert session.log == []
