"""COSEM Data as JSON and back without loss: the tag stands beside every value (catalogue 1.15, 3.1)."""

from typing import Any, Final

from metercast.dlms.data import MAX_DEPTH, BitString, Data, Tag, decode_whole, encode_data
from metercast.dlms.data_types import NUMBERS
from metercast.dlms.errors import DlmsError
from metercast.domain.problem import InvalidField

_TAGS: Final = {tag.label: tag for tag in Tag}
_CONTAINERS: Final = frozenset({Tag.ARRAY, Tag.STRUCTURE})
_EMPTY: Final = frozenset({Tag.NULL_DATA, Tag.DONT_CARE})
_OCTETS: Final = frozenset({Tag.OCTET_STRING, Tag.DATE_TIME, Tag.DATE, Tag.TIME})
_TEXTS: Final = frozenset({Tag.VISIBLE_STRING, Tag.UTF8_STRING})
_FLOATS: Final = frozenset({Tag.FLOAT32, Tag.FLOAT64})


def to_json(data: Data) -> dict[str, Any]:
    """`{"tag": "long-unsigned", "value": 1}`; octets are hex, bits are text of 0 and 1, 64-bit numbers are text.

    A compact-array, a float that JSON does not know and a text that is none come as `hex`, their A-XDR.
    """
    tag, value = data.tag, data.value
    shown: dict[str, Any] = {"tag": tag.label}
    if tag in _EMPTY:
        return shown
    if tag in _CONTAINERS:
        return shown | {"value": [to_json(element) for element in value]}
    if tag in (Tag.LONG64, Tag.LONG64_UNSIGNED):
        return shown | {"value": str(value)}
    if tag in NUMBERS or tag is Tag.BOOLEAN or (tag in _TEXTS and isinstance(value, str)):
        return shown | {"value": value}
    if tag in _OCTETS:
        return shown | {"value": value.hex()}
    if isinstance(value, BitString):
        return shown | {"value": value.bits}
    if tag in _FLOATS and value == value and abs(value) != float("inf"):
        return shown | {"value": value}
    return shown | {"hex": encode_data(data).hex()}


def from_json(raw: Any, path: str, depth: int = 0) -> Data:
    """Raises InvalidField, which names the path of what is wrong, also where a number does not fit its tag."""
    if not isinstance(raw, dict) or not isinstance(raw.get("tag"), str):
        raise InvalidField(path, raw, 'an object such as {"tag": "long-unsigned", "value": 1} is expected')
    tag = _TAGS.get(raw["tag"])
    if tag is None:
        raise InvalidField(f"{path}.tag", raw["tag"], f"unknown; known: {', '.join(sorted(_TAGS))}")
    expected = {"tag"} if tag in _EMPTY else {"tag", "hex" if "hex" in raw else "value"}
    if set(raw) != expected:
        raise InvalidField(path, sorted(raw), f"the fields of a {tag.label} are {', '.join(sorted(expected))}")
    if depth > MAX_DEPTH:
        raise InvalidField(path, tag.label, f"nested deeper than {MAX_DEPTH}")
    if tag in _CONTAINERS and "value" in raw:
        return Data(tag, _elements(raw["value"], f"{path}.value", depth))
    return _scalar(tag, raw, path)


def _elements(raw: Any, path: str, depth: int) -> list[Data]:
    if not isinstance(raw, list):
        raise InvalidField(path, raw, "a list is expected")
    return [from_json(element, f"{path}[{index}]", depth + 1) for index, element in enumerate(raw)]


def _scalar(tag: Tag, raw: dict[str, Any], path: str) -> Data:
    name = "hex" if "hex" in raw else "value"
    given = raw.get(name)
    try:
        data = decode_whole(bytes.fromhex(str(given))) if name == "hex" else Data(tag, _value(tag, given))
        if data.tag is not tag:
            raise ValueError(f"it is a {data.tag.label}")
        encode_data(data)
    except (DlmsError, TypeError, ValueError, OverflowError) as error:
        raise InvalidField(f"{path}.{name}", given, f"no {tag.label}: {error}") from None
    return data


def _value(tag: Tag, given: Any) -> Any:
    if tag in _EMPTY:
        return None
    if tag is Tag.BOOLEAN and isinstance(given, bool):
        return given
    if tag in NUMBERS and isinstance(given, int | str) and not isinstance(given, bool):
        return int(given)
    if tag in _FLOATS and isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    if isinstance(given, str):
        if tag in _OCTETS:
            return bytes.fromhex(given)
        if tag in _TEXTS:
            return given
        if tag is Tag.BIT_STRING:
            return BitString.of(given)
    raise TypeError(f"a value of another kind, {type(given).__name__}")
