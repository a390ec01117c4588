"""A meter's clock as a physical thing: it runs, it drifts, it is set, and it knows its zone's rules."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

TimeSource = Callable[[], float]


@dataclass(frozen=True, slots=True)
class ZoneChange:
    """A yearly change: on the last or n-th `weekday` (1 = Monday) of `month`, at local time before the change."""

    month: int
    weekday: int
    last: bool
    first_day: int
    hour: int
    minute: int

    def local_time(self, year: int) -> datetime:
        """The instant in the local time that held before the change, as a naive reading of the dial in UTC."""
        if self.last:
            start = datetime(year + self.month // 12, self.month % 12 + 1, 1, self.hour, self.minute, tzinfo=UTC)
            back = (start.isoweekday() - 1 - self.weekday) % 7 + 1
            return start - timedelta(days=back)
        start = datetime(year, self.month, self.first_day, self.hour, self.minute, tzinfo=UTC)
        return start + timedelta(days=(self.weekday - start.isoweekday()) % 7)


@dataclass(frozen=True)
class ZoneRules(tzinfo):
    """Standard offset in minutes east of UTC; the daylight saving changes, or None where there are none."""

    standard_offset: int
    daylight_begin: ZoneChange | None = None
    daylight_end: ZoneChange | None = None
    daylight_minutes: int = 0
    # The begin and the end of daylight saving by year, in seconds since 1970 UTC.
    _bounds: dict[int, tuple[float, float]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def is_daylight_at(self, timestamp: float) -> bool:
        """`timestamp` is seconds since 1970 UTC."""
        if self.daylight_begin is None or self.daylight_end is None:
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
        zone = ZoneInfo(name)
        changes = _changes_in(zone, year)
        if len(changes) != 2:
            moment = datetime(year, 7, 1, tzinfo=UTC)
            return cls(_offset_minutes(zone, moment))
        begin, end = sorted(changes, key=lambda change: -_offset_minutes(zone, change))
        before = _offset_minutes(zone, end)
        after = _offset_minutes(zone, begin)
        return cls(before, _as_rule(begin, before), _as_rule(end, after), after - before)


class MeterClock:
    """Time that passes with the time source, `drift` seconds a second faster or slower.

    `time_source` tells seconds since 1970 UTC and is the machine's own clock by default.
    """

    __slots__ = ("_base_meter", "_base_real", "_drift", "_source", "rules")

    def __init__(
        self,
        rules: ZoneRules,
        *,
        offset: float = 0.0,
        drift: float = 0.0,
        time_source: TimeSource = time.time,
    ) -> None:
        self.rules = rules
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


def _offset_minutes(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() / 60)


def _changes_in(zone: ZoneInfo, year: int) -> list[datetime]:
    """The instants of a year at which the zone's offset changes; right after each the new offset holds."""
    changes = []
    day = datetime(year, 1, 1, tzinfo=UTC)
    while day.year == year:
        following = day + timedelta(days=1)
        if _offset_minutes(zone, day) != _offset_minutes(zone, following):
            low, high = day, following
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) // 2
                middle = middle.replace(second=0, microsecond=0)
                if middle == low:
                    break
                if _offset_minutes(zone, middle) == _offset_minutes(zone, low):
                    low = middle
                else:
                    high = middle
            changes.append(high)
        day = following
    return changes


def _as_rule(change: datetime, offset_before: int) -> ZoneChange:
    dial = change + timedelta(minutes=offset_before)
    last = (dial + timedelta(days=7)).month != dial.month
    return ZoneChange(
        month=dial.month,
        weekday=dial.isoweekday(),
        last=last,
        first_day=(dial.day - 1) // 7 * 7 + 1,
        hour=dial.hour,
        minute=dial.minute,
    )
