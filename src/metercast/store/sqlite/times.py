"""Instants as text: UTC, fixed width, so that text order is time order."""

from datetime import UTC, datetime, timedelta

LATEST = datetime.max.replace(tzinfo=UTC)


def to_text(instant: datetime) -> str:
    """2026-01-31T02:00:00.000000Z; `instant` is aware."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def from_text(text: str) -> datetime:
    return datetime.fromisoformat(text)


def optional(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def later(instant: datetime, seconds: float) -> str:
    """`seconds` after `instant`, as text; the latest instant there is where that is beyond it."""
    try:
        return to_text(instant + timedelta(seconds=seconds))
    except OverflowError:
        return to_text(LATEST)
