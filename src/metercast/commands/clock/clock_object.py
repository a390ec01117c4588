"""The clock of a meter (class 8, catalogue 1.4): read with its uncertainty, and compared."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from metercast.commands.contract import MeterSession, StepFailed
from metercast.commands.parameters import chosen
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.datetimes import (
    NO_DEVIATION,
    NO_STATUS,
    STATUS_DIFFERENT_BASE,
    STATUS_DOUBTFUL,
    STATUS_DST,
    STATUS_INVALID,
    STATUS_INVALID_STATUS,
    CosemDateTime,
    DeviationSign,
)
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Dates

CLASS_ID = 8
TIME = 2
ADJUST_TO_MINUTE, ADJUST_TO_PRESET_TIME, PRESET_ADJUSTING_TIME, SHIFT_TIME = 3, 4, 5, 6

_STATUS_BITS = {
    "invalidValue": STATUS_INVALID,
    "doubtfulValue": STATUS_DOUBTFUL,
    "differentBase": STATUS_DIFFERENT_BASE,
    "invalidStatus": STATUS_INVALID_STATUS,
    "daylightSaving": STATUS_DST,
}


class Reading(NamedTuple):
    """The clock as the meter told it, and the middle of request and answer by our own clock."""

    value: CosemDateTime
    instant: datetime | None  # None where the meter's time is not fully specified
    reference: datetime
    half_round_trip: float  # seconds
    lead: float = 0.0  # seconds from asking to arriving at the meter: what is asked later takes as long

    @property
    def difference(self) -> float:
        """Seconds that the meter is ahead of the reference; only where the instant is known."""
        assert self.instant is not None
        return (self.instant - self.reference).total_seconds()

    @property
    def is_invalid(self) -> bool:
        """The meter itself says that its time is worth nothing, or it tells none."""
        return self.instant is None or (self.value.status != NO_STATUS and bool(self.value.status & STATUS_INVALID))

    def to_json(self) -> dict[str, Any]:
        value, instant = self.value, self.instant
        return {
            "time": str(value) if instant is None else instant.isoformat(),
            "deviationMinutes": None if value.deviation == NO_DEVIATION else value.deviation,
            "status": status_json(value.status),
            "reference": self.reference.isoformat(timespec="milliseconds"),
            "differenceSeconds": None if instant is None else round(self.difference, 3),
            "uncertaintySeconds": round(self.half_round_trip, 3),
        }


class ClockObject(NamedTuple):
    logical_name: LogicalName

    @classmethod
    def of(cls, session: MeterSession, obis: str | None) -> "ClockObject":
        """The one that the task names, or the profile's."""
        return cls(chosen(obis, session.profile.objects.clock))

    @property
    def time(self) -> CosemAttribute:
        return self.attribute(TIME)

    def attribute(self, index: int) -> CosemAttribute:
        return CosemAttribute(CLASS_ID, self.logical_name, index)

    def method(self, index: int) -> CosemMethod:
        return CosemMethod(CLASS_ID, self.logical_name, index)

    async def read(self, session: MeterSession, zone: ZoneInfo | None = None) -> Reading:
        """`zone` (that of the record) is taken where the meter tells no deviation.

        StepFailed(InvalidResponse) where its answer is no date-time.
        """
        asked = session.now() + timedelta(seconds=session.send_delay)
        data = await session.get(self.time)
        round_trip = session.now() - asked
        try:
            value = CosemDateTime.decode(data.octet_string(12))
        except DecodeError as error:
            raise StepFailed(ErrorWord.INVALID_RESPONSE, f"GET {self.time}: {error}") from error
        instant = instant_of(value, zone or ZoneInfo(session.meter.record.time_zone), deviation_sign(session))
        half = max(round_trip.total_seconds() / 2, 0.0)
        return Reading(value, instant, asked + round_trip / 2, half, session.send_delay + half)


def deviation_sign(session: MeterSession) -> DeviationSign:
    """What a positive deviation means to this meter (catalogue 3.2)."""
    return session.profile.dates.sign


def instant_of(value: CosemDateTime, zone: ZoneInfo, sign: DeviationSign) -> datetime | None:
    """The instant, in the offset that the meter tells or, where it tells none, in `zone`; or None."""
    try:
        instant = value.to_datetime(zone=zone, sign=sign)
        instant.astimezone(UTC)
    except (DecodeError, OverflowError, ValueError):
        return None
    return instant


def status_json(status: int) -> dict[str, bool] | None:
    """The bits by name; None where the status is not specified."""
    return None if status == NO_STATUS else {name: bool(status & bit) for name, bit in _STATUS_BITS.items()}


def encode_clock(instant: datetime, zone: ZoneInfo, dates: Dates) -> Data:
    """The nearest whole second in `zone`, with deviation and the DST bit; the weekday is left to the meter."""
    nearest = (instant + timedelta(milliseconds=500)).astimezone(zone).replace(microsecond=0)
    value = CosemDateTime.from_datetime(nearest, sign=dates.sign)
    return Data(dates.date_time, replace(value, date=replace(value.date, weekday=0xFF)).encode())
