"""Lengths and octet strings of A-XDR (IEC 61334-6), which BER shares for its definite lengths."""

from metercast.dlms.errors import DecodeError


def encode_length(length: int) -> bytes:
    """The shortest form: one octet below 0x80, else 0x80 + the number of octets that follow."""
    if length < 0x80:
        return bytes((length,))
    if length < 0x100:
        return bytes((0x81, length))
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 | size,)) + length.to_bytes(size, "big")


def decode_length(buffer: bytes, offset: int) -> tuple[int, int]:
    """(length, offset behind it). Longer forms than needed are accepted; indefinite ones are not.

    IndexError where the buffer ends at `offset`; callers turn it into a DecodeError.
    """
    first = buffer[offset]
    if first < 0x80:
        return first, offset + 1
    size = first & 0x7F
    end = offset + 1 + size
    if not 1 <= size <= 4:
        raise DecodeError(f"length octet 0x{first:02X} at {offset} is not a definite length of 1 to 4 octets")
    if end > len(buffer):
        raise DecodeError(f"the data ends inside a length at {offset}")
    return int.from_bytes(buffer[offset + 1 : end], "big"), end


def take(buffer: bytes, offset: int, length: int) -> tuple[bytes, int]:
    """(`length` octets, offset behind them)."""
    end = offset + length
    if end > len(buffer):
        raise DecodeError(f"{length} octets wanted at {offset}, {max(0, len(buffer) - offset)} remain")
    return buffer[offset:end], end


def take_octets(buffer: bytes, offset: int) -> tuple[bytes, int]:
    """(octets, offset behind them) of a string that begins with its length."""
    length, offset = decode_length(buffer, offset)
    end = offset + length
    if end > len(buffer):
        raise DecodeError(f"a string of {length} octets at {offset}, {len(buffer) - offset} remain")
    return buffer[offset:end], end


def expect_end(buffer: bytes, offset: int, what: str) -> None:
    if offset != len(buffer):
        raise DecodeError(f"{len(buffer) - offset} octets too many behind {what}")
