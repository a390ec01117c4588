"""Instants as BSON dates, kept to the microsecond.

A BSON date holds milliseconds. It is kept all the same, so that people can query by date, and the exact instant, in
microseconds since 1970, stands beside it in `micros` where there is a rest: `{"scheduledAt": date, "micros":
{"scheduledAt": 1778205600000001}}`. The date decides: what `micros` says counts only where it is the same
millisecond, so an update of the date alone is enough and never wrong. A clock that ticks in milliseconds, as the
database's does, never needs `micros`.
"""

from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

from metercast.store.mongo.types import Document

LATEST = datetime.max.replace(tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

_MICROSECOND = timedelta(microseconds=1)


def floor(instant: datetime) -> datetime:
    """What a BSON date holds of it, in UTC."""
    instant = instant.astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def put_time(document: MutableMapping[str, Any], name: str, instant: datetime | None) -> None:
    """Into a document that is being made; nothing where there is no instant."""
    if instant is None:
        return
    document[name] = floor(instant)
    if instant.microsecond % 1000:
        document.setdefault("micros", {})[name] = _micros(instant)


def set_time(changes: MutableMapping[str, Any], name: str, instant: datetime, prefix: str = "") -> None:
    """Into the `$set` of an update; `prefix` is the path of the document that holds it, with its last dot."""
    changes[prefix + name] = floor(instant)
    if instant.microsecond % 1000:
        changes[f"{prefix}micros.{name}"] = _micros(instant)


def find_time(document: Mapping[str, Any], name: str) -> datetime | None:
    date: datetime | None = document.get(name)
    if date is None:
        return None
    micros = document.get("micros")
    exact = None if micros is None else micros.get(name)
    if exact is not None and exact // 1000 == _micros(date) // 1000:
        return LONG_AGO + timedelta(microseconds=exact)
    return date


def get_time(document: Mapping[str, Any], name: str) -> datetime:
    found = find_time(document, name)
    assert found is not None
    return found


def not_before(name: str, instant: datetime) -> Document:
    """The filter `name >= instant`, exact."""
    date = floor(instant)
    if not instant.microsecond % 1000:
        return {name: {"$gte": date}}
    return {"$or": [{name: {"$gt": date}}, {name: date, f"micros.{name}": {"$gte": _micros(instant)}}]}


def before(name: str, instant: datetime) -> Document:
    """The filter `name < instant`, exact."""
    date = floor(instant)
    if not instant.microsecond % 1000:
        return {name: {"$lt": date}}
    rest = {"$not": {"$gte": _micros(instant)}}
    return {"$or": [{name: {"$lt": date}}, {name: date, f"micros.{name}": rest}]}


def later(instant: datetime, seconds: float) -> datetime:
    """`seconds` after `instant`; the latest instant there is where that is beyond it."""
    try:
        return instant + timedelta(seconds=seconds)
    except OverflowError:
        return LATEST


def to_text(instant: datetime) -> str:
    """2026-01-31T02:00:00.000000Z"""
    return instant.isoformat(timespec="microseconds")[:-6] + "Z"


def _micros(instant: datetime) -> int:
    return (instant - LONG_AGO) // _MICROSECOND
