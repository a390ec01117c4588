"""A-XDR of Data: every type on its bytes, round trips, and bounds on what rubbish may cost."""

import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metercast.dlms.data import (
    DONT_CARE,
    MAX_DEPTH,
    BitString,
    CompactArray,
    Data,
    Tag,
    TypeDescription,
    decode_data,
    decode_whole,
    encode_data,
)
from metercast.dlms.errors import DecodeError, EncodeError

KNOWN = [
    ("00", Data.null()),
    ("0100", Data.array([])),
    ("01021101120002", Data.array([Data.unsigned(1), Data.long_unsigned(2)])),
    ("02020901410900", Data.structure([Data.octets(b"A"), Data.octets(b"")])),
    ("0301", Data.boolean(True)),
    ("0300", Data.boolean(False)),
    ("040aa5c0", Data.bit_string("1010010111")),
    ("0400", Data.bit_string("")),
    ("05fffffffe", Data.double_long(-2)),
    ("06fffffffe", Data.double_long_unsigned(0xFFFFFFFE)),
    ("0903010203", Data.octets(b"\x01\x02\x03")),
    ("0a03414243", Data.visible_string("ABC")),
    ("0c03e282ac", Data.utf8_string("€")),
    ("0d45", Data.bcd(0x45)),
    ("0ffe", Data.integer(-2)),
    ("10fffe", Data.long(-2)),
    ("11fe", Data.unsigned(254)),
    ("12fffe", Data.long_unsigned(0xFFFE)),
    ("14fffffffffffffffe", Data.long64(-2)),
    ("15fffffffffffffffe", Data.long64_unsigned(2**64 - 2)),
    ("161e", Data.enum(30)),
    ("173fc00000", Data.float32(1.5)),
    ("183ff8000000000000", Data.float64(1.5)),
    ("1907ea0c1fff160000008000ff", Data.date_time(bytes.fromhex("07ea0c1fff160000008000ff"))),
    ("1a07ea0c19ff", Data.date(bytes.fromhex("07ea0c19ff"))),
    ("1b07000000", Data.time(bytes.fromhex("07000000"))),
    ("1cff", Data(Tag.DELTA_INTEGER, -1)),
    ("1dffff", Data(Tag.DELTA_LONG, -1)),
    ("1effffffff", Data(Tag.DELTA_DOUBLE_LONG, -1)),
    ("1fff", Data(Tag.DELTA_UNSIGNED, 255)),
    ("20ffff", Data(Tag.DELTA_LONG_UNSIGNED, 0xFFFF)),
    ("21ffffffff", Data(Tag.DELTA_DOUBLE_LONG_UNSIGNED, 0xFFFFFFFF)),
    ("ff", DONT_CARE),
    ("13120400010002", Data.compact_array(TypeDescription(Tag.LONG_UNSIGNED), map(Data.long_unsigned, (1, 2)))),
    (
        "130202110906050141060142",
        Data.compact_array(
            TypeDescription(Tag.STRUCTURE, 2, (TypeDescription(Tag.UNSIGNED), TypeDescription(Tag.OCTET_STRING))),
            [
                Data.structure([Data.unsigned(5), Data.octets(b"A")]),
                Data.structure([Data.unsigned(6), Data.octets(b"B")]),
            ],
        ),
    ),
    (
        "13010002110401020304",
        Data.compact_array(
            TypeDescription(Tag.ARRAY, 2, (TypeDescription(Tag.UNSIGNED),)),
            [
                Data.array([Data.unsigned(1), Data.unsigned(2)]),
                Data.array([Data.unsigned(3), Data.unsigned(4)]),
            ],
        ),
    ),
]


@pytest.mark.parametrize(("text", "data"), KNOWN, ids=[text for text, _ in KNOWN])
def test_every_type_has_these_octets(text: str, data: Data) -> None:
    octets = bytes.fromhex(text)
    assert decode_whole(octets) == data
    assert encode_data(data) == octets
    assert decode_data(b"\xaa" + octets + b"\xbb", 1) == (data, 1 + len(octets))


@pytest.mark.parametrize(("text", "data"), KNOWN, ids=[text for text, _ in KNOWN])
def test_every_cut_is_a_decode_error(text: str, data: Data) -> None:
    octets = bytes.fromhex(text)
    for size in range(len(octets)):
        with pytest.raises(DecodeError):
            decode_whole(octets[:size])
    with pytest.raises(DecodeError, match="too many"):
        decode_whole(octets + b"\x00")


def test_every_standard_tag_is_covered() -> None:
    assert {data.tag for _, data in KNOWN} == set(Tag)


@pytest.mark.parametrize("text", ["0981024142", "098200024142", "0984000000024142"])
def test_lengths_in_longer_forms_are_read(text: str) -> None:
    assert decode_whole(bytes.fromhex(text)) == Data.octets(b"AB")


@pytest.mark.parametrize("text", ["0980", "09850000000001aa", "09ff"])
def test_lengths_of_no_definite_form_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_whole(bytes.fromhex(text))


def test_lengths_are_written_in_the_shortest_form() -> None:
    for size, head in ((127, "097f"), (128, "098180"), (255, "0981ff"), (256, "09820100"), (65536, "0983010000")):
        octets = encode_data(Data.octets(bytes(size)))
        assert octets.startswith(bytes.fromhex(head))
        assert decode_whole(octets) == Data.octets(bytes(size))


def test_any_nonzero_octet_is_true() -> None:
    assert decode_whole(b"\x03\xff") == Data.boolean(True)


def test_strings_in_other_code_pages_survive() -> None:
    for text in ("0a04cde5f2ff", "0c04cde5f2ff"):
        assert encode_data(decode_whole(bytes.fromhex(text))).hex() == text


@pytest.mark.parametrize("tag", [7, 8, 11, 14, 34, 0x60, 0xFE])
def test_unknown_tags_are_refused(tag: int) -> None:
    with pytest.raises(DecodeError, match="no tag"):
        decode_whole(bytes((tag, 0, 0, 0, 0)))


def test_depth_is_bounded_both_ways() -> None:
    deepest = b"\x02\x01" * MAX_DEPTH + b"\x00"
    assert encode_data(decode_whole(deepest)) == deepest
    with pytest.raises(DecodeError, match="deeper"):
        decode_whole(b"\x02\x01" + deepest)
    with pytest.raises(EncodeError, match="deeper"):
        encode_data(Data.structure([decode_whole(deepest)]))
    with pytest.raises(DecodeError):
        decode_whole(b"\x13" + b"\x02\x01" * 100_000 + b"\x11\x01\x01")


@pytest.mark.parametrize(
    "text",
    [
        "0184ffffffff00",  # four thousand million elements
        "0984ffffffff00",
        "0484ffffffff00",
        "13" + "01ffff" * 20 + "00" + "0101",  # arrays of arrays of null-data
        "13" + "02ff" + "01ffff00" * 255 + "01ff",
        "131184ffffffff",
        "13000101",  # contents, and an element type that takes none
        "13130101",
    ],
)
def test_claims_cost_no_memory(text: str) -> None:
    tracemalloc.start()
    with pytest.raises(DecodeError):
        decode_whole(bytes.fromhex(text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64_000_000


def test_the_number_of_values_is_bounded() -> None:
    row = b"\x02\x82\xff\xff" + b"\x00" * 0xFFFF
    with pytest.raises(DecodeError, match="more than"):
        decode_whole(b"\x01\x04" + row * 4)


@pytest.mark.parametrize(
    "data",
    [
        Data.unsigned(256),
        Data.unsigned(-1),
        Data.integer(128),
        Data(Tag.LONG, 1.5),
        Data(Tag.OCTET_STRING, "text"),
        Data(Tag.VISIBLE_STRING, b"octets"),
        Data.visible_string("€"),
        Data(Tag.BOOLEAN, 1),
        Data(Tag.NULL_DATA, 0),
        Data.date_time(b"short"),
        Data(Tag.BIT_STRING, BitString(9, b"\x00")),
        Data(Tag.BIT_STRING, None),
        Data(Tag.COMPACT_ARRAY, CompactArray(TypeDescription(Tag.UNSIGNED), [Data.integer(1)])),
        Data(Tag.COMPACT_ARRAY, CompactArray(TypeDescription(Tag.COMPACT_ARRAY), [])),
        Data.float32(1e300),
    ],
)
def test_values_that_do_not_fit_are_our_own_error(data: Data) -> None:
    with pytest.raises(EncodeError):
        encode_data(data)


def test_errors_do_not_show_strings() -> None:
    with pytest.raises(EncodeError) as caught:
        encode_data(Data(Tag.OCTET_STRING, "secret"))
    assert "secret" not in str(caught.value)


def test_accessors_refuse_other_types() -> None:
    assert Data.long(-3).number() == -3
    assert Data.structure([Data.null()]).elements(1) == [Data.null()]
    assert Data.date(bytes(5)).octet_string(5) == bytes(5)
    assert Data.boolean(True).truth()
    for wrong in (
        lambda: Data.octets(b"1").number(),
        lambda: Data.boolean(True).number(),
        lambda: Data.unsigned(1).truth(),
        lambda: Data.unsigned(1).octet_string(),
        lambda: Data.octets(b"1").octet_string(2),
        lambda: Data.octets(b"1").elements(),
        lambda: Data.array([]).elements(1),
    ):
        with pytest.raises(DecodeError):
            wrong()


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    return st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else st.integers(0, (1 << bits) - 1)


VALUES: dict[Tag, st.SearchStrategy[Any]] = {
    Tag.NULL_DATA: st.none(),
    Tag.DONT_CARE: st.none(),
    Tag.BOOLEAN: st.booleans(),
    Tag.BIT_STRING: st.lists(st.booleans(), max_size=40).map(BitString.of),
    Tag.DOUBLE_LONG: integers(32, signed=True),
    Tag.DOUBLE_LONG_UNSIGNED: integers(32, signed=False),
    Tag.OCTET_STRING: st.binary(max_size=300),
    Tag.VISIBLE_STRING: st.text(st.characters(max_codepoint=255), max_size=20),
    Tag.UTF8_STRING: st.text(st.characters(codec="utf-8"), max_size=20),
    Tag.BCD: integers(8, signed=False),
    Tag.INTEGER: integers(8, signed=True),
    Tag.LONG: integers(16, signed=True),
    Tag.UNSIGNED: integers(8, signed=False),
    Tag.LONG_UNSIGNED: integers(16, signed=False),
    Tag.LONG64: integers(64, signed=True),
    Tag.LONG64_UNSIGNED: integers(64, signed=False),
    Tag.ENUM: integers(8, signed=False),
    Tag.FLOAT32: st.floats(width=32, allow_nan=False),
    Tag.FLOAT64: st.floats(allow_nan=False),
    Tag.DATE_TIME: st.binary(min_size=12, max_size=12),
    Tag.DATE: st.binary(min_size=5, max_size=5),
    Tag.TIME: st.binary(min_size=4, max_size=4),
    Tag.DELTA_INTEGER: integers(8, signed=True),
    Tag.DELTA_LONG: integers(16, signed=True),
    Tag.DELTA_DOUBLE_LONG: integers(32, signed=True),
    Tag.DELTA_UNSIGNED: integers(8, signed=False),
    Tag.DELTA_LONG_UNSIGNED: integers(16, signed=False),
    Tag.DELTA_DOUBLE_LONG_UNSIGNED: integers(32, signed=False),
}


def scalar(tag: Tag) -> st.SearchStrategy[Data]:
    return VALUES[tag].map(lambda value: Data(tag, value))


SCALARS = st.sampled_from(sorted(VALUES)).flatmap(scalar)
TYPES: st.SearchStrategy[TypeDescription] = st.recursive(
    st.sampled_from(sorted(set(VALUES) - {Tag.NULL_DATA, Tag.DONT_CARE})).map(TypeDescription),
    lambda inner: st.one_of(
        st.builds(lambda size, part: TypeDescription(Tag.ARRAY, size, (part,)), st.integers(1, 3), inner),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda parts: TypeDescription(Tag.STRUCTURE, len(parts), tuple(parts))
        ),
    ),
    max_leaves=6,
)


def of_type(element: TypeDescription) -> st.SearchStrategy[Data]:
    if element.tag is Tag.ARRAY or element.tag is Tag.STRUCTURE:
        parts = element.parts if element.tag is Tag.STRUCTURE else element.parts * element.size
        return st.tuples(*map(of_type, parts)).map(lambda values: Data(element.tag, list(values)))
    return scalar(element.tag)


COMPACT = TYPES.flatmap(
    lambda element: st.lists(of_type(element), max_size=4).map(lambda values: Data.compact_array(element, values))
)
DATA: st.SearchStrategy[Data] = st.recursive(
    SCALARS | COMPACT,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(Data.array), st.lists(inner, max_size=5).map(Data.structure)
    ),
    max_leaves=20,
)


@given(DATA)
@settings(deadline=None)
def test_data_survives_the_wire(data: Data) -> None:
    octets = encode_data(data)
    assert decode_whole(octets) == data
    assert encode_data(decode_whole(octets)) == octets


def test_a_compact_array_of_many_parts_and_deep_ones() -> None:
    parts = tuple(TypeDescription(Tag.UNSIGNED) for _ in range(200))
    row = Data.structure([Data.unsigned(number) for number in range(200)])
    wide = Data.compact_array(TypeDescription(Tag.STRUCTURE, 200, parts), [row, row])
    assert encode_data(wide)[:5].hex() == "130281c811"
    assert decode_whole(encode_data(wide)) == wide
    element, value = TypeDescription(Tag.DELTA_INTEGER), Data(Tag.DELTA_INTEGER, -1)
    for level in range(10):
        if level % 2:
            element, value = TypeDescription(Tag.ARRAY, 2, (element,)), Data.array([value, value])
        else:
            element, value = TypeDescription(Tag.STRUCTURE, 1, (element,)), Data.structure([value])
    deep = Data.compact_array(element, [value] * 3)
    assert decode_whole(encode_data(deep)) == deep


def test_nan_survives_the_wire() -> None:
    assert math.isnan(decode_whole(encode_data(Data.float64(math.nan))).value)


@given(st.binary(max_size=200) | st.tuples(DATA, st.integers(0, 400), st.integers(0, 255)).map(lambda m: mutated(*m)))
@settings(deadline=None, max_examples=400)
def test_rubbish_is_data_or_a_decode_error(octets: bytes) -> None:
    try:
        data, end = decode_data(octets)
    except DecodeError:
        return
    assert end <= len(octets)
    assert decode_whole(encode_data(data)) == data or "nan" in repr(data)


def mutated(data: Data, at: int, octet: int) -> bytes:
    octets = bytearray(encode_data(data))
    octets[at % len(octets)] = octet
    return bytes(octets)
