"""READ_PROFILE after a session that was lost: what was read is not read again, and each row comes once."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.commands.fake_session import attribute, run
from tests.commands.test_read_profile_steps import PERIOD, PROFILE, START, ProfileMeter, capture, clock, quarters

from metercast.commands.contract import StepFailed
from metercast.commands.readings import profile_progress
from metercast.dlms.data import Data
from metercast.domain.outcome import Outcome, OutcomeKind, Phase
from metercast.domain.words import ErrorWord

RAW: dict[str, Any] = {"from": "2026-09-01T00:00:00Z", "to": "2026-09-08T00:00:00Z"}
GONE = StepFailed(ErrorWord.TIMEOUT, "no answer for 30 s")
WEEK = [(START + number * PERIOD).isoformat() for number in range(7 * 96 + 1)]


def times(outcome: Outcome) -> list[str]:
    return [row[0] for row in outcome.result["rows"]]


async def resumed(meter: ProfileMeter, raw: dict[str, Any] = RAW) -> Outcome:
    """Sessions until one comes to its end; progress goes through JSON, as in a store."""
    for _ in range(20):
        try:
            outcome = await run(meter, "READ_PROFILE", raw)
        except StepFailed as failure:
            outcome = Outcome.failed(failure.error, failure.detail, Phase.READING, progress=failure.progress)
        if outcome.succeeded:
            return outcome
        if outcome.progress is not None:
            meter.progress = msgspec.json.decode(msgspec.json.encode(outcome.progress))
    raise AssertionError("it comes to no end")


@pytest.mark.parametrize("lost", range(7))
async def test_a_window_that_is_lost_is_the_only_one_that_is_asked_for_again(lost: int) -> None:
    meter = ProfileMeter(quarters(1000))
    meter.fail["get 7/2"] = [*[None] * lost, GONE]
    outcome = await resumed(meter)
    assert times(outcome) == WEEK
    assert meter.log.count("get 7/2") == 7 + 1
    assert [start for start, _ in meter.ranges] == [START + timedelta(days=day) for day in range(7)]


async def test_every_session_is_lost_after_one_window() -> None:
    meter = ProfileMeter(quarters(1000))
    meter.fail["get 7/2"] = [each for _ in range(6) for each in (None, GONE)]
    assert times(await resumed(meter)) == WEEK
    assert len(meter.ranges) == 7


async def test_a_long_reading_is_kept_every_minute_and_goes_on_in_another_session() -> None:
    meter = ProfileMeter(quarters(1000))
    meter.latency = 50.0
    outcome = await run(meter, "READ_PROFILE", RAW)
    assert outcome.kind is OutcomeKind.CHECKPOINT
    assert len(meter.kept) >= 1
    whole = await resumed(meter)
    assert times(whole) == WEEK
    # A crash in the first session: the next one goes on from what was settled last.
    crashed = ProfileMeter(quarters(1000))
    crashed.progress = msgspec.json.decode(msgspec.json.encode(meter.kept[0]))
    assert times(await resumed(crashed)) == WEEK
    assert len(crashed.ranges) < 7


async def test_a_profile_that_was_set_up_anew_is_read_anew() -> None:
    meter = ProfileMeter(quarters(1000))
    meter.fail["get 7/2"] = [None, None, GONE]
    with pytest.raises(StepFailed) as failed:
        await run(meter, "READ_PROFILE", RAW)
    other = ProfileMeter(quarters(1000))
    other.progress = failed.value.progress
    columns = Data.array([capture(8, "0.0.1.0.0.255"), capture(3, "1.0.2.8.0.255")])
    other.objects[attribute(7, PROFILE, 3)] = columns
    other.objects[attribute(3, "1.0.2.8.0.255", 3)] = Data.structure([Data.integer(0), Data.enum(30)])
    assert times(await resumed(other)) == WEEK
    assert len(other.ranges) == 7


async def test_a_window_that_is_not_over_is_read_again_from_its_last_row() -> None:
    """The meter may have captured more meanwhile."""
    meter = ProfileMeter(quarters(300))
    meter.clock = START + timedelta(days=3, hours=3)
    meter.fail["get 7/2"] = [*[None] * 4, GONE]
    with pytest.raises(StepFailed) as failed:
        await run(meter, "READ_PROFILE", RAW)
    later = ProfileMeter(quarters(400))
    later.clock = meter.clock + timedelta(days=1)
    later.progress = failed.value.progress
    assert times(await resumed(later)) == WEEK[:400]
    assert later.ranges[0][0] == START + 299 * PERIOD


async def test_without_selective_access_what_was_read_is_not_told_twice() -> None:
    meter = ProfileMeter(quarters(1000))
    meter.fail["get 7/2"] = [None, None, GONE]
    with pytest.raises(StepFailed) as failed:
        await run(meter, "READ_PROFILE", RAW)
    other = ProfileMeter(quarters(1000), selective=False)
    other.progress = failed.value.progress
    assert times(await resumed(other)) == WEEK


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_progress, "MAX_OCTETS", 10_000)
    meter = ProfileMeter(quarters(1000))
    meter.fail["get 7/2"] = [*[None] * 6, GONE]
    with pytest.raises(StepFailed) as failed:
        await run(meter, "READ_PROFILE", RAW)
    assert len(msgspec.json.encode(failed.value.progress)) < 11_000
    assert 0 < len(failed.value.progress["rows"]) < 6 * 96
    meter.progress = failed.value.progress
    assert times(await resumed(meter)) == WEEK


async def test_one_row_at_the_very_start_comes_once() -> None:
    meter = ProfileMeter([[clock(START), Data.double_long_unsigned(1)]])
    meter.clock = START + timedelta(minutes=1)
    meter.fail["get 7/2"] = [None, GONE]
    assert times(await resumed(meter)) == [START.isoformat()]


async def test_entries_are_read_whole_again() -> None:
    meter = ProfileMeter(quarters(20))
    meter.fail["get 7/2"] = [GONE]
    with pytest.raises(StepFailed) as failed:
        await run(meter, "READ_PROFILE", {"entries": {"first": 1}})
    assert failed.value.progress is None
