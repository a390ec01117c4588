"""Scalers that were read once are not read again, of the same meter with the same firmware only."""

from typing import Any

import pytest
from tests.commands.fake_session import FakeSession, attribute, run
from tests.commands.test_read_profile_steps import ProfileMeter, capture, quarters
from tests.commands.test_read_registers_steps import scaler_unit

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.known_scales import KnownScales
from metercast.commands.object_lists import Target
from metercast.commands.scaler_unit import ScalerUnit
from metercast.dlms.data import NULL, Data, Tag
from metercast.dlms.logical_name import LogicalName
from metercast.domain.words import ErrorWord

FIRMWARE = "1.0.0.2.0.255"
OBJECT = Target(1, LogicalName.parse(FIRMWARE))
IMPORT, EXPORT = "1.0.1.8.0.255", "1.0.2.8.0.255"
BOTH: dict[str, Any] = {"items": [{"obis": IMPORT}, {"obis": EXPORT}]}
FIRST = ["get 3/2", "get 3/2", "get 1/2", "get 3/3", "get 3/3"]
SECOND = ["get 3/2", "get 3/2", "get 1/2"]


def registers() -> FakeSession:
    session = FakeSession({(1, FIRMWARE, 2): Data.octets(b"V1.7")})
    for obis in (IMPORT, EXPORT):
        session.objects[attribute(3, obis, 2)] = Data.long_unsigned(125)
        session.objects[attribute(3, obis, 3)] = scaler_unit(-1, 30)
    session.object_lists.put(session.model, "V1.7", [OBJECT])
    return session


async def read(session: FakeSession, raw: dict[str, Any] = BOTH) -> tuple[list[str], list[Any]]:
    """What was asked for, and the values."""
    session.log.clear()
    result = (await run(session, "READ_REGISTERS", raw)).result
    return list(session.log), [item.get("value") for item in result["items"]]


async def test_the_second_session_reads_no_scalers() -> None:
    session = registers()
    assert await read(session) == (FIRST, ["12.5", "12.5"])
    assert await read(session) == (SECOND, ["12.5", "12.5"])


async def test_only_what_is_missing_is_read() -> None:
    session = registers()
    await read(session)
    third = "1.0.3.8.0.255"
    session.objects[attribute(3, third, 2)] = Data.long_unsigned(7)
    session.objects[attribute(3, third, 3)] = scaler_unit(2, 30)
    more = {"items": [*BOTH["items"], {"obis": third}]}
    assert await read(session, more) == (["get 3/2"] * 3 + ["get 1/2", "get 3/3"], ["12.5", "12.5", "700"])


async def test_another_firmware_reads_anew() -> None:
    session = registers()
    await read(session)
    session.objects[attribute(1, FIRMWARE, 2)] = Data.octets(b"V1.8")
    session.objects[attribute(3, IMPORT, 3)] = scaler_unit(1, 30)
    assert await read(session) == (FIRST, ["1250", "12.5"])
    assert (await read(session))[0] == SECOND
    session.objects[attribute(1, FIRMWARE, 2)] = Data.octets(b"V1.7")
    assert (await read(session))[0] == FIRST, "back at the first one nothing is known of it"


async def test_another_meter_in_its_place_or_another_client_reads_anew() -> None:
    session = registers()
    await read(session)
    session.proof = b"MMM00002"
    assert (await read(session))[0] == FIRST


@pytest.mark.parametrize(
    "told",
    [
        NULL,
        Data.octets(b""),
        Data.octets(bytes(4)),
        Data(Tag.VISIBLE_STRING, " "),
        MeterRefused(ErrorWord.READ_WRITE_DENIED, "denied"),
    ],
)
async def test_a_meter_that_does_not_tell_its_firmware_is_read_whole(told: Data | MeterRefused) -> None:
    session = registers()
    if isinstance(told, MeterRefused):
        session.fail["get 1/2"] = told
    else:
        session.objects[attribute(1, FIRMWARE, 2)] = told
    for _ in range(2):
        assert await read(session) == (FIRST, ["12.5", "12.5"])
    assert len(session.known_scales) == 0


async def test_the_firmware_is_asked_for_only_where_the_model_has_it_and_the_meter_is_proved() -> None:
    plain = ["get 3/2", "get 3/2", "get 3/3", "get 3/3"]
    session = registers()
    session.proof = None
    assert (await read(session))[0] == plain
    session = registers()
    session.object_lists.put(session.model, "V1.6", [])
    assert (await read(session))[0] == plain
    session = registers()
    session.model = ("generic", b"XXX")
    assert (await read(session))[0] == plain


async def test_for_one_register_or_without_scalers_it_is_not_asked() -> None:
    session = registers()
    assert (await read(session, {"items": [{"obis": IMPORT}]}))[0] == ["get 3/2", "get 3/3"]
    assert (await read(session, BOTH | {"withScaler": False}))[0] == ["get 3/2", "get 3/2"]


async def test_the_firmware_may_be_an_item_itself() -> None:
    session = registers()
    raw = {"items": [{"obis": FIRMWARE, "class": 1}, *BOTH["items"]]}
    assert (await read(session, raw))[0] == ["get 1/2", "get 3/2", "get 3/2", "get 3/3", "get 3/3"]
    assert await read(session, raw) == (["get 1/2", "get 3/2", "get 3/2"], ["V1.7", "12.5", "12.5"])


async def test_what_was_refused_or_is_none_is_not_known() -> None:
    session = registers()
    session.fail["get 3/3"] = [MeterRefused(ErrorWord.TEMPORARY_FAILURE, "busy"), None, None]
    assert await read(session) == (FIRST, [None, "12.5"])
    assert await read(session) == ([*SECOND, "get 3/3"], ["12.5", "12.5"])
    session = registers()
    session.objects[attribute(3, EXPORT, 3)] = NULL
    with pytest.raises(StepFailed) as failed:
        await read(session)
    assert failed.value.error is ErrorWord.INVALID_RESPONSE
    assert len(session.known_scales) == 0


async def test_a_profile_reads_its_columns_each_time_and_their_scalers_once() -> None:
    session = ProfileMeter(quarters(2))
    session.objects[attribute(1, FIRMWARE, 2)] = Data.octets(b"V1.7")
    session.object_lists.put(session.model, "V1.7", [OBJECT])
    first = (await run(session, "READ_PROFILE")).result
    assert session.log == ["get 7/3", "get 7/4", "get 1/2", "get 3/3", "get 7/2"]
    session.log.clear()
    assert (await run(session, "READ_PROFILE")).result == first
    assert session.log == ["get 7/3", "get 7/4", "get 1/2", "get 7/2"]
    # Other columns under the same firmware, and as many of them.
    columns = attribute(7, "1.0.99.1.0.255", 3)
    session.objects[columns] = Data.array([capture(8, "0.0.1.0.0.255"), capture(3, EXPORT)])
    session.objects[attribute(3, EXPORT, 3)] = scaler_unit(3, 30)
    session.log.clear()
    changed = (await run(session, "READ_PROFILE")).result
    assert session.log == ["get 7/3", "get 7/4", "get 1/2", "get 3/3", "get 7/2"]
    assert changed["columns"][1]["obis"] == EXPORT
    assert changed["rows"][0][1] == "1000000"


def test_what_is_known_is_bounded_and_the_least_used_goes_first() -> None:
    known = KnownScales(capacity=4)
    two = {attribute(3, obis, 3): ScalerUnit(0, 30) for obis in (IMPORT, EXPORT)}
    known.add("a", 1, "V1", two)
    known.add("b", 1, "V1", two)
    assert known.of("a", 1, "V1") == two
    known.add("c", 1, "V1", two)
    assert len(known) == 4
    assert known.of("b", 1, "V1") == {}
    assert known.of("a", 1, "V1") == known.of("c", 1, "V1") == two
    known.add("c", 1, "V1", two)
    assert len(known) == 4, "what is known twice counts once"
    known.add("d", 1, "V1", {attribute(3, f"1.0.{number}.8.0.255", 3): ScalerUnit(0, 30) for number in range(5)})
    assert len(known) == 0, "more than fits is not kept"


def test_other_firmware_or_another_proof_ends_what_is_known() -> None:
    known = KnownScales()
    scale = {attribute(3, IMPORT, 3): ScalerUnit(0, 30)}
    known.add("a", 1, "V1", scale)
    assert known.of("a", 1, "V2") == {}
    assert known.of("a", 1, "V1") == {}
    known.add("a", 1, "V1", scale)
    known.add("a", 2, "V1", {})
    assert known.of("a", 1, "V1") == {}
    known.forget("a")
    known.forget("a")
    assert len(known) == 0
