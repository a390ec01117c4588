"""Instants as PostgreSQL has them: microseconds from 2000 on, in UTC, to the last one that Python knows."""

from datetime import UTC, datetime, timedelta

LATEST = datetime.max.replace(tzinfo=UTC)

_START = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def later(instant: datetime, seconds: float) -> datetime:
    """`seconds` after `instant`; the latest instant there is where that is beyond it."""
    try:
        return instant + timedelta(seconds=seconds)
    except OverflowError:
        return LATEST


def encode(instant: datetime) -> tuple[int]:
    """For timestamptz; `instant` is aware. (asyncpg's own takes the first and the last instant for infinities.)"""
    return ((instant - _START) // _MICROSECOND,)


def decode(value: tuple[int]) -> datetime:
    return _START + timedelta(microseconds=value[0])
