"""The store's contract for invocation counters: reserved durably, ahead of use (catalogue 2.7)."""

from typing import Protocol

import msgspec


class CounterName(msgspec.Struct, frozen=True):
    """Counters belong to (device, key, client system title). `key` is a fingerprint of the key, never the key."""

    device_id: str
    key: str
    client_system_title: str


class CounterExhausted(Exception):
    """Fewer than the asked values are left below 2**32: the key must be changed."""


class CounterStore(Protocol):
    async def reserve_counters(self, name: CounterName, count: int, at_least: int = 0) -> int:
        """Reserves `count` values durably and returns the first; no value is ever given twice.

        The first is never below `at_least` nor below what was reserved before. With `count` 0 nothing is reserved, and
        the answer is only where the counter stands. Raises CounterExhausted.
        """
        ...
