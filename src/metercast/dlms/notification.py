"""What a meter sends without being asked: data-notification and event-notification-request (catalogue 1.16)."""

import struct
from typing import Final

import msgspec

from metercast.dlms.axdr import encode_length, expect_end, take_octets
from metercast.dlms.cosem import CosemAttribute, decode_attribute, decode_presence
from metercast.dlms.data import Data, decode_data, encode_data
from metercast.dlms.errors import DecodeError, EncodeError

DATA_NOTIFICATION: Final = 0x0F
EVENT_NOTIFICATION: Final = 0xC2
NOTIFICATIONS: Final = frozenset({DATA_NOTIFICATION, EVENT_NOTIFICATION})

LONG_INVOKE: Final = struct.Struct(">I")


class DataNotification(msgspec.Struct, frozen=True):
    """`invoke` is long-invoke-id-and-priority; `time` the octets of a date-time, empty where it is left out."""

    invoke: int
    time: bytes
    value: Data

    def encode(self) -> bytes:
        return (
            bytes((DATA_NOTIFICATION,))
            + encode_long_invoke(self.invoke)
            + encode_length(len(self.time))
            + self.time
            + encode_data(self.value)
        )


class EventNotification(msgspec.Struct, frozen=True):
    """The value of one attribute; `time` None where it is left out."""

    time: bytes | None
    attribute: CosemAttribute
    value: Data

    def encode(self) -> bytes:
        time = b"\x00" if self.time is None else b"\x01" + encode_length(len(self.time)) + self.time
        return bytes((EVENT_NOTIFICATION,)) + time + self.attribute.encode() + encode_data(self.value)


Notification = DataNotification | EventNotification


def encode_long_invoke(invoke: int) -> bytes:
    try:
        return LONG_INVOKE.pack(invoke)
    except struct.error as exc:
        raise EncodeError(f"long-invoke-id-and-priority {invoke}") from exc


def decode_notification(apdu: bytes) -> Notification:
    """Either of them; DecodeError."""
    try:
        return _decode(apdu)
    except (IndexError, struct.error):
        raise DecodeError("a notification ends too early") from None


def _decode(apdu: bytes) -> Notification:
    notification: Notification
    if apdu[0] == DATA_NOTIFICATION:
        time, offset = take_octets(apdu, 5)
        value, offset = decode_data(apdu, offset)
        notification = DataNotification(LONG_INVOKE.unpack_from(apdu, 1)[0], time, value)
    elif apdu[0] == EVENT_NOTIFICATION:
        told, offset = None, 2
        if decode_presence(apdu, 1):
            told, offset = take_octets(apdu, 2)
        attribute, offset = decode_attribute(apdu, offset)
        value, offset = decode_data(apdu, offset)
        notification = EventNotification(told, attribute, value)
    else:
        raise DecodeError(f"0x{apdu[0]:02X} is not a notification")
    expect_end(apdu, offset, "a notification")
    return notification
