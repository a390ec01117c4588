"""COSEM Data for people: what a result shows of a value whose meaning the command does not know."""

from typing import Any

from metercast.dlms.data import BitString, CompactArray, Data, Tag
from metercast.dlms.data_types import NUMBERS


def plain(data: Data) -> Any:
    """JSON: numbers as decimal text, octets as text where they are printable ASCII and else as "hex:...".

    Arrays and structures become lists; null-data and dont-care become null.
    """
    tag, value = data.tag, data.value
    if tag in NUMBERS:
        return str(value)
    if tag in (Tag.FLOAT32, Tag.FLOAT64):
        return repr(value)
    if isinstance(value, bytes):
        return octets_text(value, tag is Tag.OCTET_STRING)
    if isinstance(value, BitString):
        return value.bits
    if isinstance(value, CompactArray):
        return [plain(element) for element in value.values]
    if isinstance(value, list):
        return [plain(element) for element in value]
    return value


def octets_text(octets: bytes, may_be_text: bool = True) -> str:
    """Printable ASCII as it is, unless it could be taken for hex; anything else as "hex:..."."""
    if may_be_text and octets and all(0x20 <= octet < 0x7F for octet in octets):
        text = octets.decode("ascii")
        if not text.startswith("hex:"):
            return text
    return f"hex:{octets.hex()}"
