"""When a zone's offset changes every year: how meters keep daylight saving (class 8, catalogue 1.4 and 3.2)."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo

ANY_WEEKDAY: Final = 0
_YEARS_TO_COME: Final = 2


class ZoneChange(NamedTuple):
    """A yearly change at the dial's time before it, in `month`.

    On the first `weekday` (1 is Monday) from `first_day` on, or with `last` the last one; with ANY_WEEKDAY on that day
    itself, or the month's last.
    """

    month: int
    weekday: int
    last: bool
    first_day: int
    hour: int
    minute: int

    def local_time(self, year: int) -> datetime:
        """The instant in the local time that held before the change, as a naive reading of the dial in UTC."""
        if self.last:
            day = monthrange(year, self.month)[1]
            start = datetime(year, self.month, day, self.hour, self.minute, tzinfo=UTC)
            back = 0 if self.weekday == ANY_WEEKDAY else (start.isoweekday() - self.weekday) % 7
            return start - timedelta(days=back)
        start = datetime(year, self.month, self.first_day, self.hour, self.minute, tzinfo=UTC)
        forward = 0 if self.weekday == ANY_WEEKDAY else (self.weekday - start.isoweekday()) % 7
        return start + timedelta(days=forward)


class YearlyRules(NamedTuple):
    """Standard offset in minutes east of UTC; what daylight saving adds to it, and when, None where not kept."""

    standard_offset: int
    begin: ZoneChange | None = None
    end: ZoneChange | None = None
    daylight_minutes: int = 0

    @classmethod
    def of_zone(cls, zone: ZoneInfo, year: int) -> Self:
        """As they stand in that year; without daylight saving where the offset changes more or less than twice."""
        changes = _offset_changes(zone, year)
        if len(changes) != 2:
            return cls(_offset_minutes(zone, datetime(year, 7, 1, tzinfo=UTC)))
        begin, end = sorted(changes, key=lambda change: -_offset_minutes(zone, change))
        before = _offset_minutes(zone, end)
        after = _offset_minutes(zone, begin)
        return cls(before, _rule_of(begin, before), _rule_of(end, after), after - before)

    @classmethod
    def lasting(cls, zone: ZoneInfo, year: int) -> Self | None:
        """As they stand in that year and the years after it; None where they will be others (Ramadan, an island)."""
        rules, *later = (cls.of_zone(zone, each) for each in range(year, year + _YEARS_TO_COME + 1))
        return rules if all(each == rules for each in later) else None


def _offset_minutes(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() / 60)


def _offset_changes(zone: ZoneInfo, year: int) -> list[datetime]:
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


def _rule_of(change: datetime, offset_before: int) -> ZoneChange:
    dial = change + timedelta(minutes=offset_before)
    last = (dial + timedelta(days=7)).month != dial.month
    return ZoneChange(
        month=dial.month,
        weekday=dial.isoweekday(),
        last=last,
        first_day=0 if last else (dial.day - 1) // 7 * 7 + 1,
        hour=dial.hour,
        minute=dial.minute,
    )
