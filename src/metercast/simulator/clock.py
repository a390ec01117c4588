"""A meter's clock as a physical thing: it runs, it drifts, it is set, and it knows its zone's rules."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metercast.dlms.yearly_rules import YearlyRules, ZoneChange

TimeSource = Callable[[], float]


@dataclass(frozen=True)
class ZoneRules(tzinfo):
    """Standard offset in minutes east of UTC; the daylight saving changes, or None where there are none."""

    standard_offset: int
    daylight_begin: ZoneChange | None = None
    daylight_end: ZoneChange | None = None
    daylight_minutes: int = 0
    daylight_enabled: bool = True
    # The begin and the end of daylight saving by year, in seconds since 1970 UTC.
    _bounds: dict[int, tuple[float, float]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def is_daylight_at(self, timestamp: float) -> bool:
        """`timestamp` is seconds since 1970 UTC."""
        if not self.daylight_enabled or self.daylight_begin is None or self.daylight_end is None:
            return False
        year = time.gmtime(timestamp + self.standard_offset * 60).tm_year
        bounds = self._bounds.get(year)
        if bounds is None:
            begin = self.daylight_begin.local_time(year).timestamp() - self.standard_offset * 60
            end = self.daylight_end.local_time(year).timestamp()
            bounds = self._bounds[year] = (begin, end - (self.standard_offset + self.daylight_minutes) * 60)
        begin, end = bounds
        return begin <= timestamp < end if begin < end else not end <= timestamp < begin

    def offset_at(self, timestamp: float) -> int:
        """Minutes east of UTC at that moment."""
        return self.standard_offset + (self.daylight_minutes if self.is_daylight_at(timestamp) else 0)

    def offset(self, utc: datetime) -> int:
        """Minutes east of UTC at that instant, whose zone is not looked at."""
        return self.offset_at(utc.replace(tzinfo=UTC).timestamp())

    def fromutc(self, moment: datetime) -> datetime:
        offset = self.offset(moment)
        local = moment + timedelta(minutes=offset)
        earlier = moment - timedelta(minutes=self.daylight_minutes)
        return local.replace(fold=int(self.offset(earlier) > offset))

    def utcoffset(self, moment: datetime | None) -> timedelta:
        if moment is None:
            return timedelta(minutes=self.standard_offset)
        dial = moment.replace(tzinfo=UTC)
        daylight = self.standard_offset + self.daylight_minutes
        candidates = (daylight, self.standard_offset)
        fitting = [o for o in candidates if self.offset(dial - timedelta(minutes=o)) == o]
        # Two fit in the hour that comes twice; none in the hour that is left out: standard time goes on there.
        chosen = fitting[-1 if moment.fold else 0] if fitting else self.standard_offset
        return timedelta(minutes=chosen)

    def dst(self, moment: datetime | None) -> timedelta:
        return self.utcoffset(moment) - timedelta(minutes=self.standard_offset)

    def tzname(self, moment: datetime | None) -> str:
        return str(self.utcoffset(moment))

    @classmethod
    def of_zone(cls, name: str, year: int) -> "ZoneRules":
        """The rules of an IANA zone as they stand in that year."""
        found = YearlyRules.of_zone(ZoneInfo(name), year)
        return cls(found.standard_offset, found.begin, found.end, found.daylight_minutes, found.begin is not None)


class Preset(NamedTuple):
    """A time to which the clock is set while it shows one between `start` and `end`; seconds since 1970 UTC."""

    timestamp: float
    start: float
    end: float


class MeterClock:
    """Time that passes with the time source, `drift` seconds a second faster or slower.

    `time_source` tells seconds since 1970 UTC and is the machine's own clock by default.
    """

    __slots__ = ("_base_meter", "_base_real", "_drift", "_source", "preset", "rules")

    def __init__(
        self,
        rules: ZoneRules,
        *,
        offset: float = 0.0,
        drift: float = 0.0,
        time_source: TimeSource = time.time,
    ) -> None:
        self.rules = rules
        self.preset: Preset | None = None
        self._source = time_source
        self._drift = drift
        self._base_real = time_source()
        self._base_meter = self._base_real + offset

    def timestamp(self) -> float:
        """The meter's idea of now, seconds since 1970 UTC."""
        elapsed = self._source() - self._base_real
        return self._base_meter + elapsed * (1.0 + self._drift)

    def now(self) -> datetime:
        """The meter's idea of now, in UTC."""
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def offset(self) -> float:
        """How far the meter's clock is ahead of the true one, in seconds."""
        return self.timestamp() - self._source()

    def set(self, timestamp: float) -> None:
        self._base_real = self._source()
        self._base_meter = timestamp

    def shift(self, seconds: float) -> None:
        self.set(self.timestamp() + seconds)

    @property
    def drift(self) -> float:
        return self._drift

    @drift.setter
    def drift(self, drift: float) -> None:
        self.set(self.timestamp())
        self._drift = drift
