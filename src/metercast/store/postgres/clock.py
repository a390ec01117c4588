"""The database's time: one clock for whoever works on it."""

from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """The local clock, corrected by what the server's showed when it was last asked. It never goes back."""

    def __init__(self) -> None:
        self._offset = timedelta()
        self._last = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        self._last = max(self._last, datetime.now(UTC) + self._offset)
        return self._last

    def correct(self, asked: datetime, server: datetime, answered: datetime) -> None:
        """`server` is what its clock showed at some moment between the two of ours."""
        self._offset = server - (asked + (answered - asked) / 2)
