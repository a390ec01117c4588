"""Cursors: where a page ended and which query it belongs to."""

import base64
import hashlib
from typing import Any, Generic, TypeVar

import msgspec

from metercast.domain.problem import InvalidField

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Up to `limit` items in a stable order; `next_cursor` is None on the last page."""

    items: list[T]
    next_cursor: str | None


def encode_cursor(query: Any, position: list[Any]) -> str:
    """An opaque cursor that only this `query` (everything but its limit) accepts."""
    return base64.urlsafe_b64encode(msgspec.json.encode([_mark(query), position])).decode().rstrip("=")


def decode_cursor(query: Any, cursor: str, shape: type[T]) -> T:
    """The position, as `shape`; raises InvalidField for rubbish and for the cursor of another query."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        mark, position = msgspec.json.decode(raw, type=tuple[str, msgspec.Raw])
        found = msgspec.json.decode(position, type=shape)
    except (ValueError, msgspec.MsgspecError):
        raise InvalidField("cursor", cursor, "not a cursor of this API") from None
    if mark != _mark(query):
        raise InvalidField("cursor", cursor, "this cursor belongs to another query")
    return found


def _mark(query: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(query), digest_size=6).hexdigest()
