"""Invocation counters on PostgreSQL."""

from collections.abc import Sequence

from metercast.store.counters import CounterExhausted, CounterName
from metercast.store.postgres.database import Database

_LIMIT = 2**32

_RESERVE = """
INSERT INTO invocation_counters AS c (device_id, key_fingerprint, client_system_title, next_value)
VALUES ($1, $2, $3, greatest($4::bigint, 1) + $5::bigint)
ON CONFLICT (device_id, key_fingerprint, client_system_title)
DO UPDATE SET next_value = greatest($4, c.next_value) + $5 WHERE greatest($4, c.next_value) + $5 <= $6::bigint
RETURNING next_value
"""
_FIND = """
SELECT next_value FROM invocation_counters
WHERE device_id = $1 AND key_fingerprint = $2 AND client_system_title = $3
"""


class PostgresCounters:
    """Implements store.counters.CounterStore."""

    database: Database

    async def reserve_counters(self, name: CounterName, count: int, at_least: int = 0) -> int:
        if count < 0:
            raise ValueError(f"cannot reserve {count} values")
        key: Sequence[str] = (name.device_id, name.key, name.client_system_title)
        if count and max(at_least, 1) + count <= _LIMIT:
            # Where the answer is lost the values are lost with it, and others are reserved.
            row = await self.database.call(_RESERVE, *key, at_least, count, _LIMIT)
            if row is not None:
                return int(row[0]) - count
        row = await self.database.call(_FIND, *key)
        first = max(at_least, row[0] if row else 1)
        if not count and first <= _LIMIT:
            return first
        raise CounterExhausted(f"the invocation counter of {name.device_id} is at {first} of {_LIMIT}")
