"""The ids of devices and buckets: ascending, contiguous within one write, and never given twice."""

import sqlite3

DEVICES = "task_devices"
BUCKETS = "task_buckets"

# An aggregate without rows is one row of null.
_NEXT = """
SELECT 1 + max(coalesce((SELECT max({1}) FROM {0}), 0),
  coalesce((SELECT last_id FROM last_ids WHERE table_name = '{0}'), 0))
"""
_NEXT_DEVICE = _NEXT.format(DEVICES, "id")
_NEXT_BUCKET = _NEXT.format(BUCKETS, "bucket_id")
_REMEMBER = """
INSERT INTO last_ids (table_name, last_id) VALUES (?, ?)
ON CONFLICT (table_name) DO UPDATE SET last_id = max(last_id, excluded.last_id)
"""


def next_device(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_NEXT_DEVICE).fetchone()[0])


def next_bucket(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_NEXT_BUCKET).fetchone()[0])


def remember(connection: sqlite3.Connection, table: str, last_id: int) -> None:
    """Rows up to `last_id` are deleted."""
    connection.execute(_REMEMBER, (table, last_id))
