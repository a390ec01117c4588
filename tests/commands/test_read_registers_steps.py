"""READ_REGISTERS: exact values, units, and a result for each item."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands.fake_session import NOW, FakeSession, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.commands.plain import plain
from metercast.commands.registry import command_type, parse_parameters
from metercast.commands.scaler_unit import exact
from metercast.commands.units import unit_name
from metercast.dlms.data import DONT_CARE, Data, decode_whole
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

ENERGY = "1.0.1.8.0.255"
SERIAL = "0.0.96.1.0.255"
DEMAND = "1.0.1.4.0.255"
MAXIMUM = "1.0.1.6.0.255"


def scaler_unit(scaler: int, unit: int) -> Data:
    return Data.structure([Data.integer(scaler), Data.enum(unit)])


def meter() -> FakeSession:
    return FakeSession(
        {
            (3, ENERGY, 2): Data.double_long_unsigned(1234567),
            (3, ENERGY, 3): scaler_unit(-2, 30),
            (1, SERIAL, 2): Data.octets(b"MMM00001"),
            (5, DEMAND, 2): Data.long(-5),
            (5, DEMAND, 3): Data.long(7),
            (5, DEMAND, 4): scaler_unit(3, 27),
            (4, MAXIMUM, 2): Data.float32(1.5),
            (4, MAXIMUM, 3): scaler_unit(0, 27),
            (4, MAXIMUM, 5): Data.octets(bytes.fromhex("07ea0911ff090f06ff000000")),
        }
    )


async def test_golden_apdus() -> None:
    session = meter()
    await run(session, "READ_REGISTERS", {"items": [{"obis": ENERGY}]})
    assert session.apdus == ["c001c100030100010800ff0200", "c001c100030100010800ff0300"]


async def test_values_units_and_order() -> None:
    items: list[dict[str, Any]] = [
        {"obis": ENERGY},
        {"obis": SERIAL, "class": 1},
        {"obis": DEMAND, "class": 5},
        {"obis": DEMAND, "class": 5, "attribute": 3},
        {"obis": MAXIMUM, "class": 4},
        {"obis": MAXIMUM, "class": 4, "attribute": 5},
    ]
    session = meter()
    outcome = await run(session, "READ_REGISTERS", {"items": items})
    assert outcome.how is How.DONE
    assert outcome.result["items"] == [
        {
            "obis": ENERGY,
            "class": 3,
            "attribute": 2,
            "value": "12345.67",
            "unit": "Wh",
            "raw": "1234567",
            "scaler": -2,
        },
        {"obis": SERIAL, "class": 1, "attribute": 2, "value": "MMM00001"},
        {"obis": DEMAND, "class": 5, "attribute": 2, "value": "-5000", "unit": "W", "raw": "-5", "scaler": 3},
        {"obis": DEMAND, "class": 5, "attribute": 3, "value": "7000", "unit": "W", "raw": "7", "scaler": 3},
        {"obis": MAXIMUM, "class": 4, "attribute": 2, "value": "1.5"},
        {"obis": MAXIMUM, "class": 4, "attribute": 5, "value": "hex:07ea0911ff090f06ff000000"},
    ]
    assert session.log.count("get 5/4") == 1  # one scaler for both attributes


async def test_without_scaler_nothing_more_is_read() -> None:
    session = meter()
    outcome = await run(session, "READ_REGISTERS", {"items": [{"obis": ENERGY}], "withScaler": False})
    assert session.log == ["get 3/2"]
    assert outcome.result["items"][0]["value"] == "1234567"


async def test_an_item_may_fail_alone() -> None:
    session = meter()
    session.fail["get 3/2"] = MeterRefused(ErrorWord.OBJECT_UNDEFINED, "object-undefined (4)")
    outcome = await run(session, "READ_REGISTERS", {"items": [{"obis": ENERGY}, {"obis": SERIAL, "class": 1}]})
    failed, read = outcome.result["items"]
    assert (failed["error"], failed["errorDetail"]) == ("ObjectUndefined", "object-undefined (4)")
    assert "value" not in failed
    assert read["value"] == "MMM00001"


async def test_where_all_fail_the_worst_word_is_told() -> None:
    session = meter()
    session.fail["get 3/2"] = MeterRefused(ErrorWord.TEMPORARY_FAILURE, "busy")
    session.fail["get 1/2"] = MeterRefused(ErrorWord.READ_WRITE_DENIED, "denied")
    with pytest.raises(StepFailed) as caught:
        await run(session, "READ_REGISTERS", {"items": [{"obis": ENERGY}, {"obis": SERIAL, "class": 1}]})
    assert caught.value.error is ErrorWord.READ_WRITE_DENIED
    assert [item["error"] for item in caught.value.result["items"]] == ["TemporaryFailure", "ReadWriteDenied"]


async def test_a_broken_session_is_no_item_of_its_own() -> None:
    session = meter()
    session.fail["get 1/2"] = StepFailed(ErrorWord.CONNECTION_LOST, "gone")
    with pytest.raises(StepFailed) as caught:
        await run(session, "READ_REGISTERS", {"items": [{"obis": ENERGY}, {"obis": SERIAL, "class": 1}]})
    assert caught.value.error is ErrorWord.CONNECTION_LOST


@pytest.mark.parametrize(
    "scaler",
    [
        Data.null(),
        Data.structure([Data.integer(1)]),
        Data.structure([Data.long(1000), Data.enum(30)]),
        Data.structure([Data.octets(b"1"), Data.enum(30)]),
    ],
)
async def test_a_scaler_that_is_none(scaler: Data) -> None:
    session = FakeSession({(3, ENERGY, 2): Data.unsigned(1), (3, ENERGY, 3): scaler})
    with pytest.raises(StepFailed) as caught:
        await run(session, "READ_REGISTERS", {"items": [{"obis": ENERGY}]})
    assert caught.value.error is ErrorWord.INVALID_RESPONSE


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-128, 127))
def test_values_are_exact(raw: int, scaler: int) -> None:
    text = exact(raw, scaler)
    assert "e" not in text.lower()
    digits = Decimal(text).as_tuple()
    assert int(digits.exponent) == min(scaler, 0) or scaler > 0
    assert Decimal(text) == Decimal(raw) * Decimal(10) ** scaler


def test_live_scaler_unit_of_the_catalogue() -> None:
    scaler, unit = decode_whole(bytes.fromhex("02020f00161e")).elements(2)
    assert (scaler.number(), unit_name(unit.number())) == (0, "Wh")


@pytest.mark.parametrize(("code", "name"), [(27, "W"), (35, "V"), (44, "Hz"), (255, ""), (99, "unit 99")])
def test_unit_names(code: int, name: str) -> None:
    assert unit_name(code) == name


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (Data.null(), None),
        (DONT_CARE, None),
        (Data.boolean(True), True),
        (Data.enum(3), "3"),
        (Data.bit_string("0110"), "0110"),
        (Data.octets(b""), "hex:"),
        (Data.octets(b"hex:00"), "hex:6865783a3030"),
        (Data.octets(b"\xff"), "hex:ff"),
        (Data.visible_string("ok"), "ok"),
        (Data.date(b"ABCDE"), "hex:4142434445"),
        (Data.structure([Data.unsigned(1), Data.array([Data.null()])]), ["1", [None]]),
    ],
)
def test_values_without_meaning_are_shown(data: Data, shown: Any) -> None:
    assert plain(data) == shown


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "commandParams.items"),
        ({"items": []}, "commandParams.items"),
        ({"items": [{"obis": ENERGY}] * 201}, "commandParams.items"),
        ({"items": [{"obis": ENERGY}, {"obis": ENERGY}]}, "commandParams.items[1]"),
        ({"items": [{"obis": "1.0.1.8.0"}]}, "commandParams.items[0].obis"),
        ({"items": [{"obis": "1.0.1.8.0.256"}]}, "commandParams.items[0].obis"),
        ({"items": [{"obis": ENERGY, "class": 7}]}, "commandParams.items[0].class"),
        ({"items": [{"obis": ENERGY, "attribute": 1}]}, "commandParams.items[0].attribute"),
        ({"items": [{"obis": ENERGY, "attr": 2}]}, "commandParams.items[0].attr"),
        ({"items": [1]}, "commandParams.items[0]"),
    ],
)
def test_parameters_that_are_refused(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_parameters(command_type("READ_REGISTERS"), raw, NOW)
    assert caught.value.path == path
