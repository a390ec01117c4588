"""GET, SET and ACTION on any object, and typed values both ways."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands.fake_session import FakeSession, run

from metercast.commands.contract import StepFailed
from metercast.commands.meter.typed_data import from_json, to_json
from metercast.dlms.data import DONT_CARE, NULL, CompactArray, Data, Tag, TypeDescription
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

THRESHOLD = {"class": 71, "obis": "0.0.17.0.0.255", "attribute": 4}
VALUE = {"tag": "double-long-unsigned", "value": 5000}

_scalars = st.one_of(
    st.just(NULL),
    st.just(DONT_CARE),
    st.booleans().map(Data.boolean),
    st.integers(-(2**7), 2**7 - 1).map(Data.integer),
    st.integers(0, 2**32 - 1).map(Data.double_long_unsigned),
    st.integers(-(2**63), 2**63 - 1).map(Data.long64),
    st.integers(0, 2**64 - 1).map(Data.long64_unsigned),
    st.integers(0, 255).map(Data.enum),
    st.binary(max_size=20).map(Data.octets),
    st.binary(min_size=12, max_size=12).map(Data.date_time),
    st.text(st.characters(max_codepoint=255), max_size=9).map(Data.visible_string),
    st.text(max_size=9).map(Data.utf8_string),
    st.text("01", max_size=20).map(Data.bit_string),
    st.floats(allow_nan=False).map(Data.float64),
    st.integers(-100, 100).map(lambda number: Data(Tag.DELTA_INTEGER, number)),
)
_data = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4).map(Data.array) | st.lists(inner, max_size=4).map(Data.structure),
)


@given(_data)
def test_every_value_comes_back_as_it_was(data: Data) -> None:
    assert from_json(to_json(data), "value") == data


def test_what_json_has_no_form_for_comes_as_hex() -> None:
    packed = Data.compact_array(TypeDescription(Tag.UNSIGNED), [Data.unsigned(1), Data.unsigned(2)])
    assert isinstance(packed.value, CompactArray)
    for data in (packed, Data(Tag.UTF8_STRING, b"\xff"), Data.float32(float("inf"))):
        shown = to_json(data)
        assert set(shown) == {"tag", "hex"}
        assert from_json(shown, "value") == data


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (1, "v"),
        ({"value": 1}, "v"),
        ({"tag": "long-unsinged", "value": 1}, "v.tag"),
        ({"tag": "unsigned", "value": 256}, "v.value"),
        ({"tag": "unsigned", "value": -1}, "v.value"),
        ({"tag": "unsigned", "value": True}, "v.value"),
        ({"tag": "unsigned", "value": 1.5}, "v.value"),
        ({"tag": "unsigned"}, "v"),
        ({"tag": "null-data", "value": None}, "v"),
        ({"tag": "octet-string", "value": "0g"}, "v.value"),
        ({"tag": "bit-string", "value": "012"}, "v.value"),
        ({"tag": "array", "value": [{"tag": "x"}]}, "v.value[0].tag"),
        ({"tag": "structure", "value": {}}, "v.value"),
        ({"tag": "unsigned", "hex": "1201"}, "v.hex"),
        ({"tag": "unsigned", "hex": "1101ff"}, "v.hex"),
        ({"tag": "boolean", "value": 1}, "v.value"),
    ],
)
def test_what_is_no_value_names_its_path(raw: Any, path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        from_json(raw, "v")
    assert caught.value.path == path


def test_a_value_nested_without_end_is_refused() -> None:
    raw: dict[str, Any] = {"tag": "array", "value": []}
    for _ in range(50):
        raw = {"tag": "array", "value": [raw]}
    with pytest.raises(InvalidField, match="deeper"):
        from_json(raw, "v")


def threshold(value: int) -> FakeSession:
    return FakeSession({(71, "0.0.17.0.0.255", 4): Data.double_long_unsigned(value)})


async def test_get_shows_value_and_tag() -> None:
    outcome = await run(threshold(5000), "GET", THRESHOLD)
    assert (outcome.how, outcome.result) == (How.DONE, {"value": VALUE})


async def test_set_writes_the_catalogues_octets_and_reads_back() -> None:
    session = threshold(1)
    outcome = await run(session, "SET", {**THRESHOLD, "value": VALUE})
    assert (outcome.how, outcome.result) == (How.DONE, {"value": VALUE})
    assert session.apdus[1] == "c101c100470000110000ff04000600001388"
    assert (await run(session, "SET", {**THRESHOLD, "value": VALUE})).how is How.ALREADY_SO
    session.log.clear()
    assert (await run(session, "SET", {**THRESHOLD, "value": VALUE, "verify": False})).how is How.DONE
    assert session.log == ["set 71/4"]


async def test_a_read_back_that_differs_fails() -> None:
    session = threshold(1)
    session.store = lambda attribute, value: None  # type: ignore[method-assign]
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET", {**THRESHOLD, "value": VALUE})
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED


async def test_action_returns_what_the_meter_returns() -> None:
    session = FakeSession({})
    session.actions["9/1"] = lambda parameter: Data.boolean(True) if parameter == Data.long_unsigned(1) else None
    raw = {"class": 9, "obis": "0.0.10.0.1.255", "method": 1, "parameter": {"tag": "long-unsigned", "value": 1}}
    outcome = await run(session, "ACTION", raw)
    assert outcome.result == {"returned": {"tag": "boolean", "value": True}}
    assert session.apdus == ["c301c1000900000a0001ff0101120001"]
    del raw["parameter"]
    assert (await run(session, "ACTION", raw)).result == {"returned": None}


SCHEDULE: dict[str, Any] = {"class": 22, "obis": "0.0.15.0.0.255", "attribute": 2}
RESET: dict[str, Any] = {"tag": "octet-string", "value": "00010a0000ff"}
SELECTOR: dict[str, Any] = {"tag": "long-unsigned", "value": 1}


@pytest.mark.parametrize(
    ("name", "raw", "path"),
    [
        ("GET", {"class": 15, "obis": "0.0.40.0.0.255", "attribute": 7}, "attribute"),
        ("SET", {"class": 15, "obis": "0.0.40.0.0.255", "attribute": 7, "value": VALUE}, "attribute"),
        ("SET", {"class": 64, "obis": "0.0.43.0.0.255", "attribute": 2, "value": VALUE}, "class"),
        ("ACTION", {"class": 64, "obis": "0.0.43.0.0.255", "method": 2}, "class"),
        ("ACTION", {"class": 15, "obis": "0.0.40.0.0.255", "method": 2}, "class"),
        ("ACTION", {"class": 9, "obis": "0.0.10.0.0.255", "method": 1}, "obis"),
        ("ACTION", {"class": 9, "obis": "00.0.10.0.0.255", "method": 1}, "obis"),
        ("ACTION", {"class": 9, "obis": "0.3.10.0.0.255", "method": 1}, "obis"),
        ("SET", {**SCHEDULE, "value": {"tag": "structure", "value": [RESET, SELECTOR]}}, "value"),
        ("ACTION", {"class": 22, "obis": "0.0.15.0.0.255", "method": 1, "parameter": RESET}, "parameter"),
        ("GET", {"class": 3, "obis": "1.0.1.8.0.999", "attribute": 2}, "obis"),
        ("SET", {**THRESHOLD, "value": {"tag": "unsigned", "value": 300}}, "value.value"),
    ],
)
async def test_what_is_not_to_be_touched_is_refused_before_any_step(name: str, raw: dict[str, Any], path: str) -> None:
    session = FakeSession({})
    with pytest.raises(InvalidField) as caught:
        await run(session, name, raw)
    assert caught.value.path == f"commandParams.{path}"
    assert session.log == []
