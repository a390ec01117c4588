"""What READ_ASSOCIATION found of a model is a hint to other commands: the meter itself decides."""

from typing import Any

import pytest
from tests.commands.fake_session import FakeSession, attribute, run
from tests.commands.test_read_association_steps import FIRMWARE, LIST, of_attribute, row

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.object_lists import ObjectLists, Target, check_target
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName
from metercast.domain.words import ErrorWord

CALENDAR = Target(20, LogicalName.parse("0.0.13.0.0.255"))
REGISTER = Target(3, LogicalName.parse("1.0.1.8.0.255"))
MODEL = ("generic", b"MMM")
UNDEFINED = MeterRefused(ErrorWord.OBJECT_UNDEFINED, "GET class 20 0.0.13.0.0.255 attribute 1: object-undefined (4)")


def session() -> FakeSession:
    rows = [row(15, 1, "0.0.40.0.0.255", [of_attribute(2, 1)], []), row(3, 0, "1.0.1.8.0.255", [], [])]
    return FakeSession(FIRMWARE | {LIST: Data.array(rows)})


async def check(found: FakeSession, name: str, raw: dict[str, Any] | None = None) -> None:
    command = command_type(name)
    await check_target(found, command, parse_parameters(command, raw, found.now()))


async def test_what_the_list_lacks_is_asked_for_and_then_the_command_ends() -> None:
    found = session()
    outcome = await run(found, "READ_ASSOCIATION")
    assert outcome.result["firmware"] == "V1.7"
    found.log.clear()
    found.fail["get 20/1"] = UNDEFINED
    with pytest.raises(StepFailed) as failed:
        await check(found, "GET_TOU")
    assert failed.value.error is ErrorWord.OBJECT_UNDEFINED
    assert failed.value.detail == (
        "GET_TOU: class 20 0.0.13.0.0.255 is not in the object list of this model (firmware V1.7), and "
        "GET class 20 0.0.13.0.0.255 attribute 1: object-undefined (4)"
    )
    assert found.log == ["get 20/1"]


async def test_what_the_list_has_is_not_asked_for() -> None:
    found = session()
    await run(found, "READ_ASSOCIATION")
    found.log.clear()
    await check(found, "GET", {"class": 3, "obis": "1.0.1.8.0.255", "attribute": 2})
    await check(found, "READ_CLOCK")
    assert found.log == []


async def test_a_meter_that_has_it_all_the_same_goes_on_and_the_list_is_mended() -> None:
    """Another firmware, or another equipment: a list never blocks what is there."""
    found = session()
    await run(found, "READ_ASSOCIATION")
    found.objects[attribute(20, "0.0.13.0.0.255", 1)] = Data.octets(CALENDAR.logical_name)
    found.log.clear()
    for _ in range(2):
        await check(found, "GET_TOU")
    assert found.log == ["get 20/1"], "the second time it is known"


@pytest.mark.parametrize("word", [ErrorWord.READ_WRITE_DENIED, ErrorWord.TEMPORARY_FAILURE])
async def test_any_other_refusal_is_the_commands_own_matter(word: ErrorWord) -> None:
    found = session()
    await run(found, "READ_ASSOCIATION")
    found.fail["get 20/1"] = MeterRefused(word, "refused")
    await check(found, "GET_TOU")


async def test_lists_of_other_models_and_of_other_associations_say_nothing() -> None:
    found = session()
    await run(found, "READ_ASSOCIATION")
    found.log.clear()
    found.model = ("generic", b"XXX")
    await check(found, "GET_TOU")
    found.model = None
    await check(found, "GET_TOU")
    assert found.log == []
    other = session()
    other.objects[attribute(15, "0.0.40.0.3.255", 2)] = other.objects[attribute(*LIST)]
    await run(other, "READ_ASSOCIATION", {"obis": "0.0.40.0.3.255"})
    assert other.object_lists.lacking(MODEL, CALENDAR) is None


async def test_a_meter_that_does_not_tell_its_firmware_fills_no_list() -> None:
    found = session()
    found.fail["get 1/2"] = MeterRefused(ErrorWord.OBJECT_UNDEFINED, "none")
    assert (await run(found, "READ_ASSOCIATION")).result["firmware"] is None
    assert found.object_lists.lacking(MODEL, CALENDAR) is None


async def test_a_member_of_a_bundle_is_checked_too() -> None:
    found = session()
    await run(found, "READ_ASSOCIATION")
    found.fail["get 20/1"] = UNDEFINED
    found.objects[attribute(3, "1.0.1.8.0.255", 2)] = Data.unsigned(1)
    commands = [
        {"command": "GET_TOU"},
        {"command": "GET", "parameters": {"class": 3, "obis": "1.0.1.8.0.255", "attribute": 2}},
    ]
    outcome = await run(found, "BUNDLE", {"commands": commands, "onFailure": "continue"})
    assert [each["outcome"] for each in outcome.result["commands"]] == ["FAILED", "DONE"]


def test_lists_are_by_firmware_and_bounded() -> None:
    lists = ObjectLists(capacity=2)
    lists.put(MODEL, "V1", [REGISTER])
    lists.put(MODEL, "V2", [REGISTER, CALENDAR])
    assert lists.lacking(MODEL, CALENDAR) == "V1"
    lists.put(MODEL, "V1", [REGISTER, CALENDAR])
    assert lists.lacking(MODEL, CALENDAR) is None
    lists.put("another", "V1", [])
    assert lists.lacking(MODEL, Target(7, REGISTER.logical_name)) == "V1", "the list that was least of use is gone"
    lists.put("another", "V2", [])
    lists.put("another", "V3", [])
    assert lists.lacking(MODEL, Target(7, REGISTER.logical_name)) is None
