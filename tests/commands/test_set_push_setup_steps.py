"""SET_PUSH_SETUP on a fake meter, in the three versions of the class."""

from typing import Any

import pytest
from tests.commands.fake_session import FakeSession, attribute, run

from metercast.commands.contract import StepFailed
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import NULL, Data
from metercast.dlms.data_types import Tag
from metercast.dlms.datetimes import CosemDateTime
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

OBIS = "0.0.25.9.0.255"
CLOCK: dict[str, Any] = {"class": 8, "obis": "0.0.1.0.0.255", "attribute": 2}
PROFILE: dict[str, Any] = {
    "class": 7,
    "obis": "1.0.99.1.0.255",
    "attribute": 2,
    "restriction": {"from": 1, "to": 96},
}
COMMON: dict[str, Any] = {
    "objects": [CLOCK],
    "destination": {"address": "10.0.0.1:4059"},
    "windows": [{"start": "*-*-* 01:00:00", "end": "*-*-* 05:00:00"}],
    "randomisationSeconds": 600,
    "retries": 3,
}
OF_VERSION: list[dict[str, Any]] = [
    COMMON | {"repetitionDelaySeconds": 60},
    COMMON
    | {
        "objects": [CLOCK, PROFILE],
        "repetitionDelaySeconds": 60,
        "portReference": "0.0.25.0.0.255",
        "clientSap": 64,
    },
    COMMON
    | {
        "objects": [CLOCK, PROFILE | {"columns": [{"class": 3, "obis": "1.0.1.8.0.255", "attribute": 2}]}],
        "repetitionDelay": {"minSeconds": 10, "exponent": 200, "maxSeconds": 3600},
        "portReference": "0.0.25.0.0.255",
        "clientSap": 64,
        "operationMethod": "confirmed",
        "confirmation": {"start": "2027-01-01 00:00:00", "intervalSeconds": 86_400},
    },
]


def push_meter(version: int) -> FakeSession:
    never = Data.octets(CosemDateTime().encode())
    listed = [Data.long_unsigned(40), Data.unsigned(version), Data.octets(attribute(40, OBIS, 1).logical_name), NULL]
    values = {
        2: Data.array([]),
        3: Data.structure([Data.enum(0), Data.octets(b""), Data.enum(0)]),
        4: Data.array([]),
        5: Data.long_unsigned(0),
        6: Data.unsigned(0),
        7: Data.long_unsigned(0),
        8: Data.octets(bytes(6)),
        9: Data.integer(0),
        11: Data.enum(0),
        12: Data.structure([never, Data.double_long_unsigned(0)]),
    }
    objects = {(40, OBIS, index): value for index, value in values.items() if index < (8, 11, 13)[version]}
    session = FakeSession(objects | {(15, "0.0.40.0.0.255", 2): Data.array([Data.structure(listed)])})
    session.actions["40/1"] = lambda parameter: None
    return session


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_everything_in_its_order(version: int) -> None:
    session = push_meter(version)
    outcome = await run(session, "SET_PUSH_SETUP", OF_VERSION[version])
    assert (outcome.how, outcome.result["version"]) == (How.DONE, version)
    order = [4, 5, 6, 7, *((8, 9) if version else ()), *((11, 12) if version == 2 else ()), 2, 3]
    assert session.changes == [f"set 40/{index}" for index in order]
    (element, *_) = session.objects[attribute(40, OBIS, 2)].elements()
    assert len(element.elements()) == 4 + version
    again = await run(session, "SET_PUSH_SETUP", OF_VERSION[version])
    assert again.how is How.ALREADY_SO
    assert again.result == outcome.result


async def test_octets() -> None:
    session = push_meter(0)
    await run(session, "SET_PUSH_SETUP", OF_VERSION[0])
    sets = {apdu[22:24]: apdu[26:] for apdu in session.apdus if apdu.startswith("c101")}
    assert sets["02"] == "0101" + "0204" + "120008" + "09060000010000ff" + "0f02" + "120000"
    assert sets["03"] == "0203" + "1600" + "090d" + b"10.0.0.1:4059".hex() + "1600"
    assert sets["04"] == "0101" + "0202" + "090cffffffffff010000008000ff" + "090cffffffffff050000008000ff"
    assert (sets["05"], sets["06"], sets["07"]) == ("120258", "1103", "12003c")


@pytest.mark.parametrize(
    ("restriction", "octets"),
    [
        (None, "0202160000"),
        ({"from": 1, "to": 96}, "02021602020206000000010600000060"),
        (
            {"from": "2026-01-01 00:00:00", "to": "*-*-* *:*:*"},
            "020216010202090c07ea0101ff000000008000ff090cffffffffffffffffff8000ff",
        ),
    ],
)
async def test_restrictions(restriction: Any, octets: str) -> None:
    session = push_meter(1)
    await run(session, "SET_PUSH_SETUP", {"objects": [PROFILE | {"restriction": restriction}]})
    assert session.apdus[-2].endswith("120000" + octets)


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_a_push_object_shows_the_version(version: int) -> None:
    session = push_meter(version)
    await run(session, "SET_PUSH_SETUP", OF_VERSION[version])
    assert session.log.count("get 15/2") == 1
    session.log.clear()
    outcome = await run(session, "SET_PUSH_SETUP", {"retries": 7})
    assert (outcome.result["version"], session.log) == (version, ["get 40/2", "get 40/6", "set 40/6", "get 40/6"])


async def test_a_version_that_is_told_is_not_looked_for() -> None:
    session = push_meter(0)
    outcome = await run(session, "SET_PUSH_SETUP", {"version": 0, "retries": 2})
    assert session.log == ["get 40/6", "set 40/6", "get 40/6"]
    assert outcome.result == {"version": 0, "retries": "2"}


async def test_a_push_comes_after_all_else() -> None:
    session = push_meter(0)
    assert (await run(session, "SET_PUSH_SETUP", COMMON | {"push": True})).how is How.DONE
    assert session.log[-1] == "action 40/1"
    outcome = await run(session, "SET_PUSH_SETUP", {"push": True})
    assert (outcome.how, outcome.result) == (How.DONE, {"version": 0, "pushed": True})


@pytest.mark.parametrize(
    ("version", "raw", "what"),
    [
        (0, {"objects": [PROFILE]}, "objects[0].restriction"),
        (1, OF_VERSION[2], "objects[1].columns"),
        (1, {"repetitionDelay": {"minSeconds": 1, "maxSeconds": 2}}, "repetitionDelay"),
        (2, {"repetitionDelaySeconds": 1}, "repetitionDelaySeconds"),
        (0, {"clientSap": 1}, "clientSap"),
        (1, {"operationMethod": "confirmed"}, "operationMethod"),
    ],
)
async def test_what_a_version_does_not_have(version: int, raw: dict[str, Any], what: str) -> None:
    session = push_meter(version)
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_PUSH_SETUP", raw)
    assert caught.value.error is ErrorWord.SERVICE_NOT_SUPPORTED
    assert caught.value.detail.endswith(what)
    assert session.changes == []
    with pytest.raises(InvalidField) as told:
        await run(session, "SET_PUSH_SETUP", raw | {"version": version})
    assert told.value.path == f"commandParams.{what}"


async def test_object_lists_that_do_not_help() -> None:
    session = push_meter(0)
    session.objects[attribute(40, "0.9.25.9.0.255", 2)] = Data.array([])
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_PUSH_SETUP", {"retries": 1, "obis": "0.9.25.9.0.255"})
    assert caught.value.error is ErrorWord.OBJECT_UNDEFINED
    session.objects[attribute(15, "0.0.40.0.0.255", 2)].value[0].value[1] = Data.unsigned(3)
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_PUSH_SETUP", {"retries": 1})
    assert caught.value.error is ErrorWord.SERVICE_NOT_SUPPORTED
    session.objects[attribute(15, "0.0.40.0.0.255", 2)] = Data.unsigned(3)
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_PUSH_SETUP", {"retries": 1})
    assert caught.value.error is ErrorWord.INVALID_RESPONSE


class Forgets(FakeSession):
    def store(self, attribute: CosemAttribute, value: Data, /) -> None:
        """Writes are answered and lost."""


async def test_a_read_back_that_differs_fails_and_nothing_is_pushed() -> None:
    forgets = Forgets({})
    forgets.objects = push_meter(0).objects
    with pytest.raises(StepFailed) as caught:
        await run(forgets, "SET_PUSH_SETUP", {"retries": 9, "push": True})
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED
    assert caught.value.result == {"version": 0, "retries": "0"}
    assert forgets.changes == ["set 40/6"]


@pytest.mark.parametrize("lost", ["get 15/2", "get 40/5", "set 40/4", "set 40/2", "set 40/3", "action 40/1"])
async def test_a_lost_answer_is_made_good_by_the_next_session(lost: str) -> None:
    session = push_meter(0)
    raw = OF_VERSION[0] | {"push": True}
    session.fail[lost] = [StepFailed(ErrorWord.TIMEOUT, "lost")]
    with pytest.raises(StepFailed):
        await run(session, "SET_PUSH_SETUP", raw)
    session.fail.clear()
    await run(session, "SET_PUSH_SETUP", raw)
    assert session.log[-1] == "action 40/1"
    assert (await run(session, "SET_PUSH_SETUP", OF_VERSION[0])).how is How.ALREADY_SO


async def test_what_a_meter_fills_in_is_no_difference() -> None:
    session = push_meter(0)
    await run(session, "SET_PUSH_SETUP", OF_VERSION[0])
    edges = [Data.octets(bytes.fromhex(f"ffffffffff0{hour}0000ffffc400")) for hour in (1, 5)]
    session.objects[attribute(40, OBIS, 4)] = Data(Tag.ARRAY, [Data.structure(edges)])
    assert (await run(session, "SET_PUSH_SETUP", OF_VERSION[0])).how is How.ALREADY_SO


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "objects"),
        ({"objects": [CLOCK | {"obis": "0.0.1.0.0.256"}]}, "objects[0].obis"),
        ({"objects": [CLOCK | {"class": 0}]}, "objects[0].class"),
        ({"objects": [PROFILE | {"restriction": {"from": 1, "to": "*-*-* *:*:*"}}]}, "objects[0].restriction"),
        ({"objects": [PROFILE | {"restriction": {"from": "a", "to": "b"}}]}, "objects[0].restriction"),
        ({"destination": {"address": ""}}, "destination.address"),
        ({"destination": {"address": "hex:0"}}, "destination.address"),
        ({"destination": {"address": "höst"}}, "destination.address"),
        ({"destination": {"address": "a", "message": 127}}, "destination.message"),
        ({"destination": {"address": "a", "transport": "post"}}, "destination.transport"),
        ({"windows": [{"start": "01:00:00", "end": "*-*-* 05:00:00"}]}, "windows[0]"),
        ({"windows": [{"start": "*-*-* 01:00:00", "end": "*-*-* 25:00:00"}]}, "windows[0]"),
        ({"confirmation": {"start": "now", "intervalSeconds": 1}}, "confirmation.start"),
        ({"repetitionDelaySeconds": 1, "repetitionDelay": {"minSeconds": 1, "maxSeconds": 1}}, "repetitionDelay"),
        ({"portReference": "0.0.25.0.0.999"}, "portReference"),
        ({"retries": 256}, "retries"),
        ({"randomisationSeconds": 70_000}, "randomisationSeconds"),
        ({"push": True, "version": 3}, "version"),
    ],
)
async def test_what_will_not_do_is_refused_before_any_step(raw: dict[str, Any], path: str) -> None:
    session = push_meter(0)
    with pytest.raises(InvalidField) as caught:
        await run(session, "SET_PUSH_SETUP", raw)
    assert caught.value.path == f"commandParams.{path}"
    assert session.log == []
