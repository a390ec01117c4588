"""The TCP/UDP wrapper of IEC 62056-47: version 1, source wPort, destination wPort, length, APDU (catalogue 4.1)."""

from struct import Struct
from typing import NamedTuple

from metercast.dlms.errors import DecodeError, EncodeError, TooLongError

HEADER = Struct(">HHHH")
HEADER_SIZE = HEADER.size
VERSION = 1
MAX_APDU = 0xFFFF


class WrapperFrame(NamedTuple):
    source: int
    destination: int
    apdu: bytes


def encode_wrapper(source: int, destination: int, apdu: bytes) -> bytes:
    """One frame; EncodeError where the APDU is longer than the length field can say."""
    if len(apdu) > MAX_APDU:
        raise EncodeError(f"an APDU of {len(apdu)} octets does not fit a wrapper frame")
    return HEADER.pack(VERSION, source, destination, len(apdu)) + apdu


class WrapperReader:
    """Cuts a byte stream into frames. Never holds more than one unfinished frame and what came behind it.

    A stream that once was wrong can't be read further: every later feed raises the same error.
    """

    def __init__(self, max_apdu: int = MAX_APDU) -> None:
        self._max_apdu = max_apdu
        self._rest = bytearray()

    @property
    def pending(self) -> int:
        """Octets of a frame that is not yet whole."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[WrapperFrame]:
        """The frames that became whole.

        DecodeError at a wrong version, TooLongError at a length over the limit; frames that were whole before the
        fault are returned first and the next feed raises.
        """
        rest = self._rest
        size = len(data)
        if not rest and size >= HEADER_SIZE:  # one whole frame, as nearly always
            version, source, destination, length = HEADER.unpack_from(data)
            if length == size - HEADER_SIZE and version == VERSION and length <= self._max_apdu:
                return [WrapperFrame(source, destination, data[HEADER_SIZE:])]
        if rest:
            rest += data
            buffer: bytes | bytearray = rest
        else:
            buffer = data
        frames: list[WrapperFrame] = []
        offset = 0
        size = len(buffer)
        while size - offset >= HEADER_SIZE:
            version, source, destination, length = HEADER.unpack_from(buffer, offset)
            if version != VERSION or length > self._max_apdu:
                break
            end = offset + HEADER_SIZE + length
            if end > size:
                break
            frames.append(WrapperFrame(source, destination, bytes(buffer[offset + HEADER_SIZE : end])))
            offset = end
        if offset < size or rest:
            self._rest = bytearray(buffer[offset:]) if offset or buffer is not rest else rest
            if not frames:
                self._check_start()
        return frames

    def _check_start(self) -> None:
        start = self._rest
        if start[:2] != b"\x00\x01"[: len(start)]:
            raise DecodeError(f"a wrapper frame begins with 0001, not {start[:2].hex()}")
        if len(start) >= HEADER_SIZE:
            length = int.from_bytes(start[6:8], "big")
            if length > self._max_apdu:
                raise TooLongError(f"an APDU of {length} octets, more than {self._max_apdu}")
