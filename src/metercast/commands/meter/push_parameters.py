"""What SET_PUSH_SETUP is told: objects, destination, windows and delays, and their Data (class 40, catalogue 1.11)."""

from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from metercast.commands.date_text import parse_date_time
from metercast.commands.parameters import ROOT, Obis, logical_name
from metercast.dlms.data import NULL, Data, Tag
from metercast.dlms.errors import EncodeError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.problem import InvalidField

Transport = Literal["tcp", "udp", "ftp", "smtp", "sms", "hdlc", "m-bus", "zigbee", "gateway"]
Message = Literal["a-xdr", "xml"]
OperationMethod = Literal["retry-on-failure", "retry-on-missing-confirmation", "confirmed"]
TRANSPORTS: Final[tuple[str, ...]] = get_args(Transport)
MESSAGES: Final[tuple[str, ...]] = get_args(Message)
OPERATION_METHODS: Final[tuple[str, ...]] = get_args(OperationMethod)

UInt8 = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
UInt16 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
UInt32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]
Index = Annotated[int, msgspec.Meta(ge=-128, le=127)]
ClassId = Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]

_NONE, _BY_DATE, _BY_ENTRY = 0, 1, 2


class Column(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A column of a profile: attribute `attribute` of the object that it captures, or part `data_index` of it."""

    class_: ClassId = msgspec.field(name="class")
    obis: Obis
    attribute: Index
    data_index: UInt16 = 0

    def parts(self) -> list[Data]:
        name = Data.octets(LogicalName.parse(self.obis))
        return [
            Data.long_unsigned(self.class_),
            name,
            Data.integer(self.attribute),
            Data.long_unsigned(self.data_index),
        ]


class Restriction(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Rows of a profile: from and to a date and time in the meter's local time, or the numbers of two entries."""

    from_: str | UInt32 = msgspec.field(name="from")
    to: str | UInt32

    def to_data(self, date_time: Tag = Tag.OCTET_STRING) -> Data:
        """EncodeError where a date is none, or one is a date and the other a number."""
        first, last = self.from_, self.to
        if isinstance(first, str) and isinstance(last, str):
            dates = [Data(date_time, parse_date_time(each).encode()) for each in (first, last)]
            return Data.structure([Data.enum(_BY_DATE), Data.structure(dates)])
        if isinstance(first, int) and isinstance(last, int):
            entries = [Data.double_long_unsigned(each) for each in (first, last)]
            return Data.structure([Data.enum(_BY_ENTRY), Data.structure(entries)])
        raise EncodeError("from and to are two dates, or two numbers")


class PushObject(Column, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One attribute to be pushed; `restriction` from version 1 of the class on, `columns` from 2 on."""

    restriction: Restriction | None = None
    columns: Annotated[list[Column], msgspec.Meta(max_length=100)] = []

    @property
    def needs_version(self) -> int:
        return 2 if self.columns else 1 if self.restriction is not None else 0

    def to_data(self, version: int, date_time: Tag = Tag.OCTET_STRING) -> Data:
        """The catalogue's element of that version of the class."""
        parts = self.parts()
        if version >= 1:
            nothing = Data.structure([Data.enum(_NONE), NULL])
            parts.append(nothing if self.restriction is None else self.restriction.to_data(date_time))
        if version >= 2:
            parts.append(Data.array([Data.structure(column.parts()) for column in self.columns]))
        return Data.structure(parts)


class Destination(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`address` is what the transport wants, as in "10.0.0.1:4059"; after "hex:" any octets. `message` may be a
    manufacturer's number, 128 to 255."""

    transport: Transport = "tcp"
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    message: Message | Annotated[int, msgspec.Meta(ge=128, le=255)] = "a-xdr"

    def octets(self) -> bytes:
        """EncodeError where it is no ASCII and no hex."""
        try:
            return bytes.fromhex(self.address[4:]) if self.address.startswith("hex:") else self.address.encode("ascii")
        except ValueError:
            raise EncodeError("neither ASCII nor, after hex:, hexadecimal") from None

    def to_data(self) -> Data:
        message = self.message if isinstance(self.message, int) else MESSAGES.index(self.message)
        transport = Data.enum(TRANSPORTS.index(self.transport))
        return Data.structure([transport, Data.octets(self.octets()), Data.enum(message)])


class Window(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """In the meter's local time, as "*-*-* 01:00:00" for every day."""

    start: str
    end: str

    def to_data(self, date_time: Tag = Tag.OCTET_STRING) -> Data:
        """EncodeError where one is no date and time."""
        return Data.structure([Data(date_time, parse_date_time(each).encode()) for each in (self.start, self.end)])


class RepetitionDelay(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Version 2 of the class: the least delay, what each further one is multiplied by (percent), and the greatest."""

    min_seconds: UInt16
    exponent: UInt16 = 100
    max_seconds: UInt16

    def to_data(self) -> Data:
        return Data.structure(
            [Data.long_unsigned(each) for each in (self.min_seconds, self.exponent, self.max_seconds)]
        )


class Confirmation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Version 2: from when on a confirmation is wanted, in the meter's local time, and how often."""

    start: str
    interval_seconds: UInt32

    def to_data(self, date_time: Tag = Tag.OCTET_STRING) -> Data:
        """EncodeError where the start is no date and time."""
        start = Data(date_time, parse_date_time(self.start).encode())
        return Data.structure([start, Data.double_long_unsigned(self.interval_seconds)])


def check_objects(objects: list[PushObject]) -> None:
    for number, each in enumerate(objects):
        path = f"{ROOT}.objects[{number}]"
        logical_name(each.obis, f"{path}.obis")
        if each.restriction is not None:
            check_texts(each.restriction, f"{path}.restriction", {"from": each.restriction.from_})
        for at, column in enumerate(each.columns):
            logical_name(column.obis, f"{path}.columns[{at}].obis")


def check_texts(value: Any, path: str, received: Any) -> None:
    """InvalidField where what `value` is told can't be written."""
    try:
        value.to_data()
    except EncodeError as error:
        raise InvalidField(path, received, str(error)) from None
