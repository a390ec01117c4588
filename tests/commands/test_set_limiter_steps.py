"""SET_LIMITER on a fake meter."""

from typing import Any

import pytest
from tests.commands.fake_session import FakeSession, attribute, run

from metercast.commands.contract import StepFailed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.datetimes import CosemDateTime
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

OBIS = "0.0.17.0.0.255"
POWER = "1.0.1.7.0.255"
EVERYTHING: dict[str, Any] = {
    "thresholdNormal": 5000,
    "thresholdEmergency": 1000,
    "minOverThresholdSeconds": 60,
    "minUnderThresholdSeconds": 30,
    "emergencyProfile": {"id": 3, "activationTime": "2027-01-15T16:00:00Z", "durationSeconds": 7200},
    "emergencyProfileGroups": [3, 4],
}


WATTS = Data.double_long_unsigned(700)


def limiter(power: Data = WATTS, zone: str = "Europe/Amsterdam") -> FakeSession:
    monitored = [Data.long_unsigned(3), Data.octets(attribute(3, POWER, 2).logical_name), Data.integer(2)]
    profile = [Data.long_unsigned(0), Data.octets(CosemDateTime().encode()), Data.double_long_unsigned(0)]
    numbers = {index: Data.double_long_unsigned(1) for index in (6, 7)}
    objects = {
        (71, OBIS, 2): Data.structure(monitored),
        (3, POWER, 2): power,
        **{(71, OBIS, index): Data(power.tag, 1) for index in (4, 5)},
        **{(71, OBIS, index): value for index, value in numbers.items()},
        (71, OBIS, 8): Data.structure(profile),
        (71, OBIS, 9): Data.array([]),
    }
    return FakeSession(objects, zone)


async def test_everything_in_its_order_and_in_the_catalogues_octets() -> None:
    session = limiter()
    outcome = await run(session, "SET_LIMITER", EVERYTHING)
    assert outcome.how is How.DONE
    assert session.changes == [f"set 71/{index}" for index in (6, 7, 4, 5, 8, 9)]
    assert "c101c100470000110000ff0600060000003c" in session.apdus
    assert "c101c100470000110000ff04000600001388" in session.apdus
    # 17:00 in the meter's zone, an hour ahead of UTC
    assert session.objects[attribute(71, OBIS, 8)].value[1].value.hex() == "07eb010fff11000000ffc400"
    assert outcome.result["thresholdNormal"] == "5000"
    assert (await run(session, "SET_LIMITER", EVERYTHING)).how is How.ALREADY_SO


async def test_what_is_left_out_stays() -> None:
    session = limiter()
    outcome = await run(session, "SET_LIMITER", {"minOverThresholdSeconds": 90})
    assert (session.log, outcome.result) == (
        ["get 71/6", "set 71/6", "get 71/6"], {"minOverThresholdSeconds": "90"},
    )  # fmt: skip


async def test_thresholds_have_the_type_of_what_is_monitored() -> None:
    session = limiter(Data.long_unsigned(7))
    await run(session, "SET_LIMITER", {"thresholdNormal": 5000})
    assert session.objects[attribute(71, OBIS, 4)] == Data.long_unsigned(5000)
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_LIMITER", {"thresholdNormal": 70_000, "minOverThresholdSeconds": 5})
    assert caught.value.error is ErrorWord.TYPE_UNMATCHED
    assert session.changes == ["set 71/4"]
    with pytest.raises(StepFailed, match="no number"):
        await run(limiter(Data.octets(b"x")), "SET_LIMITER", {"thresholdNormal": 5})


class Forgets(FakeSession):
    def store(self, attribute: CosemAttribute, value: Data, /) -> None:
        """Writes are answered and lost."""


async def test_a_read_back_that_differs_fails() -> None:
    session = limiter()
    forgets = Forgets({}, "UTC")
    forgets.objects = session.objects
    with pytest.raises(StepFailed) as caught:
        await run(forgets, "SET_LIMITER", {"thresholdEmergency": 9})
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED


@pytest.mark.parametrize("lost", ["set 71/6", "set 71/5", "set 71/9", "get 71/9"])
async def test_a_lost_answer_is_made_good_by_the_next_session(lost: str) -> None:
    session = limiter()
    session.fail[lost] = [StepFailed(ErrorWord.TIMEOUT, "lost")]
    with pytest.raises(StepFailed):
        await run(session, "SET_LIMITER", EVERYTHING)
    session.fail.clear()
    await run(session, "SET_LIMITER", EVERYTHING)
    assert (await run(session, "SET_LIMITER", EVERYTHING)).how is How.ALREADY_SO


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "thresholdNormal"),
        ({"thresholdNormal": -1}, "thresholdNormal"),
        ({"minOverThresholdSeconds": -1}, "minOverThresholdSeconds"),
        ({"emergencyProfileGroups": [70_000]}, "emergencyProfileGroups[0]"),
        ({"thresholdNormal": 1, "obis": "0.0.17.0.0.256"}, "obis"),
    ],
)
async def test_what_will_not_do_is_refused_before_any_step(raw: dict[str, Any], path: str) -> None:
    session = limiter()
    with pytest.raises(InvalidField) as caught:
        await run(session, "SET_LIMITER", raw)
    assert caught.value.path == f"commandParams.{path}"
    assert session.log == []
