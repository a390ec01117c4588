"""COSEM date (5 octets), time (4) and date-time (12), with their wildcards (catalogue 3.2, Blue Book 4.1.6.1)."""

import struct
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from enum import Enum
from functools import lru_cache
from struct import Struct
from typing import Self

import msgspec
from msgspec.structs import astuple

from metercast.dlms.errors import DecodeError, EncodeError

ANY = 0xFF
ANY_YEAR = 0xFFFF
DST_END = 0xFD  # as a month
DST_BEGIN = 0xFE  # as a month
SECOND_LAST_DAY = 0xFD
LAST_DAY = 0xFE
NO_DEVIATION = -0x8000
NO_STATUS = 0xFF
STATUS_INVALID = 0x01
STATUS_DOUBTFUL = 0x02
STATUS_DIFFERENT_BASE = 0x04
STATUS_INVALID_STATUS = 0x08
STATUS_DST = 0x80

_DATE = Struct(">HBBB")
_TIME = Struct(">BBBB")
_DATE_TIME = Struct(">HBBBBBBBhB")


class DeviationSign(Enum):
    """What a positive deviation means: the standard counts minutes from local time to UTC, so UTC+01:00 is -60."""

    STANDARD = -1
    INVERTED = 1


class CosemDate(msgspec.Struct, frozen=True, order=True, gc=False):
    """The five octets as they are: wildcards keep their codes. `check` says whether they are in range."""

    year: int = ANY_YEAR
    month: int = ANY
    day: int = ANY
    weekday: int = ANY  # 1 is Monday

    def __iter__(self) -> Iterator[int]:
        return iter(astuple(self))

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Any five octets; DecodeError at another length."""
        return cls(*_unpack(_DATE, octets, "date"))

    def encode(self) -> bytes:
        return _pack(_DATE, astuple(self))

    def check(self) -> None:
        """EncodeError naming the field that is out of range, or a weekday that its date does not have."""
        _check("month", self.month, 1, 12, DST_END, DST_BEGIN, ANY)
        _check("day", self.day, 1, 31, SECOND_LAST_DAY, LAST_DAY, ANY)
        _check("weekday", self.weekday, 1, 7, ANY)
        if self.year != ANY_YEAR and self.month <= 12 and self.day <= 31:
            try:
                weekday = datetime(self.year, self.month, self.day).isoweekday()  # noqa: DTZ001
            except ValueError as exc:
                raise EncodeError(f"no such date: {self}") from exc
            if self.weekday not in (ANY, weekday):
                raise EncodeError(f"{self} is not weekday {self.weekday}")

    def same_as(self, other: "CosemDate") -> bool:
        """Equal in meaning: the weekday of a whole date says nothing, so it may be left out."""
        if (self.year, self.month, self.day) != (other.year, other.month, other.day):
            return False
        whole = self.year != ANY_YEAR and self.month <= 12 and self.day <= 31
        return self.weekday == other.weekday or (whole and ANY in (self.weekday, other.weekday))

    def __str__(self) -> str:
        year = "*" if self.year == ANY_YEAR else f"{self.year:04}"
        month = {DST_END: "dst-end", DST_BEGIN: "dst-begin", ANY: "*"}.get(self.month) or f"{self.month:02}"
        day = {SECOND_LAST_DAY: "second-last", LAST_DAY: "last", ANY: "*"}.get(self.day) or f"{self.day:02}"
        return f"{year}-{month}-{day}"


class CosemTime(msgspec.Struct, frozen=True, order=True, gc=False):
    """The four octets as they are."""

    hour: int = ANY
    minute: int = ANY
    second: int = ANY
    hundredths: int = ANY

    def __iter__(self) -> Iterator[int]:
        return iter(astuple(self))

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Any four octets; DecodeError at another length."""
        return cls(*_unpack(_TIME, octets, "time"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "07:00" or "07:00:00", with hundredths 0."""
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(len(part) == 2 and part.isascii() and part.isdigit() for part in parts):
            raise EncodeError(f"not a time: {text[:40]!r}; write 07:00:00")
        value = cls(int(parts[0]), int(parts[1]), int(parts[2]) if len(parts) == 3 else 0, 0)
        value.check()
        return value

    def encode(self) -> bytes:
        return _pack(_TIME, astuple(self))

    def check(self) -> None:
        """EncodeError naming the field that is out of range."""
        _check("hour", self.hour, 0, 23, ANY)
        _check("minute", self.minute, 0, 59, ANY)
        _check("second", self.second, 0, 59, ANY)
        _check("hundredths", self.hundredths, 0, 99, ANY)

    def same_as(self, other: "CosemTime") -> bool:
        """Equal in meaning: hundredths that are not specified are 0."""
        same = (self.hour, self.minute, self.second) == (other.hour, other.minute, other.second)
        return same and self.hundredths % ANY == other.hundredths % ANY

    def __str__(self) -> str:
        text = ":".join("*" if part == ANY else f"{part:02}" for part in (self.hour, self.minute, self.second))
        return text if self.hundredths in (0, ANY) else f"{text}.{self.hundredths:02}"


class CosemDateTime(msgspec.Struct, frozen=True, order=True, gc=False):
    """The twelve octets as they are; `deviation` in minutes, NO_DEVIATION where it is not specified."""

    date: CosemDate = CosemDate()
    time: CosemTime = CosemTime()
    deviation: int = NO_DEVIATION
    status: int = NO_STATUS

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Any twelve octets; DecodeError at another length."""
        year, month, day, weekday, hour, minute, second, hundredths, deviation, status = _unpack(
            _DATE_TIME, octets, "date-time"
        )
        return cls(CosemDate(year, month, day, weekday), CosemTime(hour, minute, second, hundredths), deviation, status)

    def encode(self) -> bytes:
        return _pack(_DATE_TIME, (*self.date, *self.time, self.deviation, self.status))

    def check(self) -> None:
        """EncodeError naming the field that is out of range."""
        self.date.check()
        self.time.check()
        _check("deviation", self.deviation, -720, 720, NO_DEVIATION)

    @property
    def is_unspecified(self) -> bool:
        """No field of date and time says anything: in activate_passive_calendar_time, nothing is armed."""
        return self.date == CosemDate() and self.time.same_as(CosemTime(ANY, ANY, ANY, ANY))

    @property
    def daylight_saving(self) -> bool | None:
        """What the clock status says; None where it is not specified."""
        return None if self.status == NO_STATUS else bool(self.status & STATUS_DST)

    def same_as(self, other: "CosemDateTime") -> bool:
        """Equal in meaning (catalogue 1.1): a deviation or status that one of both leaves open does not differ."""
        return (
            self.date.same_as(other.date)
            and self.time.same_as(other.time)
            and (self.deviation == other.deviation or NO_DEVIATION in (self.deviation, other.deviation))
            and (self.status == other.status or NO_STATUS in (self.status, other.status))
        )

    @classmethod
    def from_datetime(
        cls,
        instant: datetime,
        *,
        sign: DeviationSign = DeviationSign.STANDARD,
        specify_deviation: bool = True,
        specify_status: bool = True,
    ) -> Self:
        """From an aware datetime, in its own zone, with weekday and hundredths; the status tells DST alone."""
        offset = instant.utcoffset()
        if offset is None:
            raise EncodeError("a date-time is made from an aware datetime only")
        return cls(
            CosemDate(instant.year, instant.month, instant.day, instant.isoweekday()),
            CosemTime(instant.hour, instant.minute, instant.second, instant.microsecond // 10_000),
            sign.value * (offset // timedelta(minutes=1)) if specify_deviation else NO_DEVIATION,
            (STATUS_DST if instant.dst() else 0) if specify_status else NO_STATUS,
        )

    def to_datetime(self, *, zone: tzinfo | None = None, sign: DeviationSign = DeviationSign.STANDARD) -> datetime:
        """The aware instant.

        Without a deviation `zone` is taken, its ambiguous hour decided by the DST status. Seconds and hundredths that
        are not specified are 0. DecodeError where another field is a wildcard or out of range, or no zone is known.
        """
        if self.deviation != NO_DEVIATION:
            if not -1439 <= self.deviation <= 1439:
                raise DecodeError(f"a deviation of {self.deviation} minutes")
            zone = _zone(sign.value * self.deviation)
        elif zone is None:
            raise DecodeError(f"the date-time {self.date} {self.time} has neither deviation nor zone")
        date, time = self.date, self.time
        second = 0 if time.second == ANY else time.second
        microsecond = 0 if time.hundredths == ANY else time.hundredths * 10_000
        fold = 1 if self.daylight_saving is False else 0
        try:
            return datetime(
                date.year, date.month, date.day, time.hour, time.minute, second, microsecond, zone, fold=fold
            )
        except ValueError:
            raise DecodeError(f"not an instant: {self.date} {self.time}") from None

    def __str__(self) -> str:
        text = f"{self.date} {self.time}"
        if self.deviation != NO_DEVIATION:
            text += f" deviation {self.deviation}"
        return text if self.status == NO_STATUS else f"{text} status {self.status:02X}"


@lru_cache(maxsize=64)
def _zone(minutes: int) -> timezone:
    return timezone(timedelta(minutes=minutes))


def _unpack(layout: Struct, octets: bytes, what: str) -> tuple[int, ...]:
    if len(octets) != layout.size:
        raise DecodeError(f"a {what} has {layout.size} octets, not {len(octets)}")
    return layout.unpack(octets)


def _pack(layout: Struct, fields: tuple[int, ...]) -> bytes:
    pack: Callable[..., bytes] = layout.pack
    try:
        return pack(*fields)
    except struct.error as exc:
        raise EncodeError(f"out of range: {fields}") from exc


def _check(name: str, value: int, low: int, high: int, *others: int) -> None:
    if not low <= value <= high and value not in others:
        raise EncodeError(f"{name} {value} is not {low} to {high}")
