"""What a session has read of a profile, kept for the next one: windows that were read are not read again."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from metercast.commands.contract import MeterSession

MAX_OCTETS: Final = 4 * 1024 * 1024  # of rows as JSON; what is read beyond them is read again
SETTLE_EVERY: Final = timedelta(seconds=60)  # what a crash can cost
SESSION: Final = timedelta(minutes=5)  # then the rest is read in another, so that others come in between


class _Kept(msgspec.Struct, frozen=True):
    """`columns` and `period` are those that the rows were read with."""

    columns: list[dict[str, Any]]
    period: int
    read_to: datetime
    rows: list[list[Any]]


class ProfileProgress:
    """`rows` are all that were read, in this session and before it; those up to `read_to` need not be read again."""

    def __init__(self, session: MeterSession, columns: list[dict[str, Any]], period: int) -> None:
        self.rows: list[list[Any]] = []
        self.read_to: datetime | None = None
        self._columns = columns
        self._period = period
        self._now = session.now
        self._count = 0  # rows that there is room for
        self._octets = 0
        self._began_at = self._kept_at = session.now()
        self._take_up(session.progress)

    def add(self, rows: list[list[Any]], last: datetime | None, end: datetime) -> None:
        """The rows of the window that ends at `end`; `last` is the latest time among them.

        A window that is not over for the meter yet may get more rows: it counts as read up to its last row only.
        """
        whole = self._count == len(self.rows)
        self.rows += rows
        self._octets += len(msgspec.json.encode(rows))
        read_to = end if end < self._now() - timedelta(seconds=self._period) else last
        if whole and self._octets <= MAX_OCTETS and read_to is not None:
            self._count, self.read_to = len(self.rows), read_to

    @property
    def is_time_to_settle(self) -> bool:
        return self._has_room and self._now() - self._kept_at >= SETTLE_EVERY

    @property
    def is_time_to_end(self) -> bool:
        return self._has_room and self._now() - self._began_at >= SESSION

    def to_json(self) -> Any:
        """None where there is nothing to keep."""
        if self.read_to is None:
            return None
        self._kept_at = self._now()
        kept = _Kept(self._columns, self._period, self.read_to, self.rows[: self._count])
        return msgspec.to_builtins(kept)

    @property
    def _has_room(self) -> bool:
        """What was read last is kept too, so that a session that follows comes further."""
        return self.read_to is not None and self._count == len(self.rows)

    def _take_up(self, progress: Any) -> None:
        """Rows with other columns, of a meter that was set up anew meanwhile, are left."""
        if progress is None:
            return
        kept = msgspec.convert(progress, _Kept)
        if (kept.columns, kept.period) == (self._columns, self._period):
            self.rows, self.read_to = kept.rows, kept.read_to
            self._count, self._octets = len(kept.rows), len(msgspec.json.encode(kept.rows))
