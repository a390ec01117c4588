"""BER tag-length-value with one-octet tags, as ACSE APDUs use it (ISO/IEC 8825-1)."""

from metercast.dlms.axdr import decode_length, encode_length
from metercast.dlms.errors import DecodeError


def encode_element(tag: int, contents: bytes) -> bytes:
    size = len(contents)
    return (bytes((tag, size)) if size < 0x80 else bytes((tag,)) + encode_length(size)) + contents


def decode_element(buffer: bytes, offset: int = 0) -> tuple[int, bytes, int]:
    """(tag, contents, offset behind it). Lengths in longer forms than needed are accepted."""
    if offset + 2 > len(buffer):
        raise DecodeError(f"the data ends inside a BER element at {offset}")
    tag = buffer[offset]
    length = buffer[offset + 1]
    if length < 0x80:
        start = offset + 2
    else:
        length, start = decode_length(buffer, offset + 1)
    end = start + length
    if end > len(buffer):
        raise DecodeError(f"BER element 0x{tag:02X} of {length} octets at {offset}, {len(buffer) - start} remain")
    return tag, buffer[start:end], end


def decode_single(buffer: bytes, tag: int, what: str) -> bytes:
    """The contents of the one element, tagged `tag`, that fills `buffer`."""
    size = len(buffer)
    if 1 < size < 0x82 and buffer[1] == size - 2 and buffer[0] == tag:
        return buffer[2:]
    found, contents, end = decode_element(buffer)
    if found != tag or end != len(buffer):
        raise DecodeError(f"{what}: one element 0x{tag:02X} was expected, not {buffer[:8].hex()}")
    return contents


def decode_elements(buffer: bytes, what: str) -> dict[int, bytes]:
    """Contents by tag of all the elements that fill `buffer`; DecodeError where a tag comes twice."""
    elements: dict[int, bytes] = {}
    offset, size = 0, len(buffer)
    while offset < size:
        start = offset + 2
        if start <= size and (length := buffer[offset + 1]) < 0x80 and start + length <= size:
            tag = buffer[offset]
            offset = start + length
            contents = buffer[start:offset]
        else:
            tag, contents, offset = decode_element(buffer, offset)
        if tag in elements:
            raise DecodeError(f"{what}: element 0x{tag:02X} comes twice")
        elements[tag] = contents
    return elements
