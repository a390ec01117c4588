"""The order of commands that conflict on one meter, on SQLite (design, section 3, "Order on a meter").

`open_commands` holds what is PENDING or SENT of the types that have a conflict group, and nothing else; also that of
tasks that are not sealed yet, which have no place in the order before they are.
"""

import sqlite3
from collections.abc import Collection, Iterable

from metercast.domain.command import ConflictGroup
from metercast.store.sqlite.statements import ids, json_array

_SUPERSEDED = "SELECT id FROM open_commands WHERE id IN (SELECT value FROM json_each(?)) AND superseded"

# An older command of the group comes first while it is in a session or could begin now; where a newer one does not
# supersede it, also while it waits for its next attempt. A due task counts before the scheduler has started it.
_WAITS = """
SELECT mine.id FROM json_each(?1) j JOIN open_commands mine ON mine.id = j.value
JOIN tasks my_task ON my_task.task_id = mine.task_id
WHERE EXISTS (
  SELECT 1 FROM open_commands other JOIN tasks t ON t.task_id = other.task_id
  JOIN task_devices d ON d.id = other.id
  WHERE other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group AND other.id <> mine.id
    AND t.unsealed_until IS NULL
    AND (t.scheduled_at, t.created_at, t.task_id) < (my_task.scheduled_at, my_task.created_at, my_task.task_id)
    AND (d.command_status = 'SENT'
      OR ((t.status = 'IN_PROGRESS' OR (t.status = 'QUEUED' AND t.scheduled_at <= ?3)) AND NOT other.superseded
          AND (NOT ?2 OR d.next_attempt_at IS NULL OR d.next_attempt_at <= ?3))))
"""

_SUPERSEDE = """
UPDATE open_commands SET superseded = 1 WHERE id IN (
  SELECT other.id FROM json_each(?1) j JOIN open_commands mine ON mine.id = j.value
  JOIN tasks my_task ON my_task.task_id = mine.task_id
  JOIN open_commands other ON other.device_id = mine.device_id AND other.conflict_group = mine.conflict_group
  JOIN tasks t ON t.task_id = other.task_id
  WHERE other.id <> mine.id AND NOT other.superseded AND t.unsealed_until IS NULL
    AND (t.scheduled_at, t.created_at, t.task_id) < (my_task.scheduled_at, my_task.created_at, my_task.task_id))
RETURNING id
"""
_HURRY_DEVICES = """
UPDATE task_devices SET next_attempt_at = NULL
WHERE id IN (SELECT value FROM json_each(?)) AND command_status = 'PENDING'
"""
_HURRY_BUCKETS = """
UPDATE task_buckets SET due_at = ?1 WHERE due_at > ?1 AND bucket_id IN (
  SELECT b.bucket_id FROM json_each(?2) j JOIN task_devices d ON d.id = j.value
  JOIN task_buckets b ON b.task_id = d.task_id AND d.id BETWEEN b.first_id AND b.last_id)
"""

_FORGET = "DELETE FROM open_commands WHERE id IN (SELECT value FROM json_each(?))"


def superseded(connection: sqlite3.Connection, positions: Collection[int]) -> list[int]:
    """Those of `positions` for which a newer command of their group has begun since."""
    return ids(connection, _SUPERSEDED, (json_array(positions),))


def that_wait(
    connection: sqlite3.Connection, positions: Collection[int], group: ConflictGroup, now: str
) -> frozenset[int]:
    """Those of `positions` for which an older command of their group comes first."""
    return frozenset(ids(connection, _WAITS, (json_array(positions), group.supersedes, now)))


def supersede_older(connection: sqlite3.Connection, positions: Collection[int], now: str) -> None:
    """`positions` have begun: what is older in their group is void, and its buckets are due to say so."""
    older = ids(connection, _SUPERSEDE, (json_array(positions),))
    if older:
        connection.execute(_HURRY_DEVICES, (json_array(older),))
        connection.execute(_HURRY_BUCKETS, (now, json_array(older)))


def forget(connection: sqlite3.Connection, positions: Iterable[int]) -> None:
    """`positions` are final."""
    connection.execute(_FORGET, (json_array(positions),))
