"""What SNRM and UA negotiate: octets of information a frame, and frames before an answer (catalogue 4.2)."""

from typing import Final, NamedTuple

from metercast.dlms.errors import DecodeError

_FORMAT: Final = b"\x81\x80"
_TRANSMIT_SIZE, _RECEIVE_SIZE, _TRANSMIT_WINDOW, _RECEIVE_WINDOW = 5, 6, 7, 8
MAX_WINDOW: Final = 7


class HdlcParameters(NamedTuple):
    """From the view of the station that sends them. The defaults hold for what is not said."""

    transmit_size: int = 128
    receive_size: int = 128
    transmit_window: int = 1
    receive_window: int = 1

    def encode(self) -> bytes:
        """The information field; empty where all is default."""
        if self == DEFAULT_PARAMETERS:
            return b""
        groups = b"".join(
            bytes([name, width]) + value.to_bytes(width, "big")
            for name, width, value in (
                (_TRANSMIT_SIZE, 1 if self.transmit_size < 256 else 2, self.transmit_size),
                (_RECEIVE_SIZE, 1 if self.receive_size < 256 else 2, self.receive_size),
                (_TRANSMIT_WINDOW, 4, self.transmit_window),
                (_RECEIVE_WINDOW, 4, self.receive_window),
            )
        )
        return _FORMAT + bytes([len(groups)]) + groups

    def agreed(self, theirs: "HdlcParameters") -> "HdlcParameters":
        """The smaller of what one sends and the other takes, in our view."""
        return HdlcParameters(
            min(self.transmit_size, theirs.receive_size),
            min(self.receive_size, theirs.transmit_size),
            min(self.transmit_window, theirs.receive_window),
            min(self.receive_window, theirs.transmit_window),
        )


DEFAULT_PARAMETERS: Final = HdlcParameters()


def decode_parameters(info: bytes) -> HdlcParameters:
    """DecodeError where the information field of an SNRM or UA is none, or a value is none that it may have."""
    if not info:
        return DEFAULT_PARAMETERS
    if info[:2] != _FORMAT or len(info) < 3 or info[2] != len(info) - 3:
        raise DecodeError("HDLC parameters that don't begin with 8180 and their length")
    values: dict[int, int] = {}
    at = 3
    while at < len(info):
        name, width = info[at], info[at + 1] if at + 1 < len(info) else 0
        value = info[at + 2 : at + 2 + width]
        if not 1 <= width <= 4 or len(value) != width:
            raise DecodeError("an HDLC parameter that is cut short")
        values[name] = int.from_bytes(value, "big")
        at += 2 + width
    default = DEFAULT_PARAMETERS
    found = HdlcParameters(
        values.get(_TRANSMIT_SIZE, default.transmit_size),
        values.get(_RECEIVE_SIZE, default.receive_size),
        values.get(_TRANSMIT_WINDOW, default.transmit_window),
        values.get(_RECEIVE_WINDOW, default.receive_window),
    )
    if min(found[:2]) < 1 or not all(1 <= window <= MAX_WINDOW for window in found[2:]):
        raise DecodeError(f"HDLC parameters out of their bounds: {found}")
    return found
