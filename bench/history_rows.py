"""A year of history, written with SQL alone: 10,000,000 device commands in final tasks, over a million meters.

Tasks of 1 to 500,000 devices, well mixed; every meter is in ten of them. Nine devices of ten succeeded. Indexes are
made anew afterwards, as they were, and the database gathers its statistics.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bench.fleet import MILLION
from bench.raw import Raw
from bench.raw_postgres import RawPostgres
from bench.raw_sqlite import RawSqlite
from metercast.store.sqlite.times import to_text
from metercast.store.tasks import DEFAULT_BUCKET

ROWS = 10 * MILLION
_SIZES = ((1, 10_000), (20, 10_000), (500, 2000), (5000, 458), (50_000, 60), (500_000, 7))  # size, how many
_LARGEST = 500_000
_MINUTES_APART = 20

_TASKS = """
INSERT INTO tasks (task_id, command_id, command_type, scheduled_at, status, created_at, updated_at, conflict_group,
  expires_at, priority, retry, body_hash, bucket_size, total, outcome, success, failed{column})
SELECT p.task_id, 'upstream-' || p.task_id, 'READ_CLOCK', p.created_at, 'COMPLETED', p.created_at, p.created_at, 'none',
  p.created_at, 4, '{{}}', 'hash', {bucket}, p.total, CASE WHEN p.total < 10 THEN 'SUCCEEDED' ELSE 'PARTIAL' END,
  p.total - p.total / 10, p.total / 10{column} FROM plan p
"""
_DEVICES = """
INSERT INTO task_devices (id, task_id, device_id, command_status, error_message, last_updated, tries, used, sent_at,
  how)
SELECT p.first_id + n, p.task_id, 'meter-' || substr(CAST(10000000 + (p.first_id + n) % {meters} AS text), 2),
  CASE WHEN n % 10 = 9 THEN 'FAILED' ELSE 'SUCCESS' END, CASE WHEN n % 10 = 9 THEN 'Timeout' END, p.created_at, 1, 1,
  p.created_at, CASE WHEN n % 10 < 9 THEN 'DONE' END
FROM plan p {numbers}
"""
_BUCKETS = """
INSERT INTO task_buckets (task_id, first_id, last_id, pending, success, failed, lease_epoch)
SELECT p.task_id, p.first_id + n * {bucket}, p.first_id + {least}((n + 1) * {bucket}, p.total) - 1, 0,
  {least}({bucket}, p.total - n * {bucket}) - {least}({bucket}, p.total - n * {bucket}) / 10,
  {least}({bucket}, p.total - n * {bucket}) / 10, 1
FROM plan p {numbers}
"""


class PlannedTask(NamedTuple):
    task_id: str
    created_at: datetime
    total: int
    first_id: int


def plan() -> list[PlannedTask]:
    """In order of creation."""
    tasks: list[PlannedTask] = []
    first_id = 1
    start = datetime.now(UTC) - timedelta(days=365)
    for number, size in enumerate(_mixed()):
        created_at = start + timedelta(minutes=_MINUTES_APART * number)
        tasks.append(PlannedTask(f"history-{number:06d}", created_at, size, first_id))
        first_id += size
    assert first_id == ROWS + 1, first_id
    return tasks


def _mixed() -> Iterator[int]:
    """Each size spread evenly over the whole."""
    placed = [((index + 0.5) / count, size) for size, count in _SIZES for index in range(count)]
    return (size for _, size in sorted(placed))


async def write_history(raw: Raw) -> None:
    """Into the empty tables of a store that is closed."""
    if isinstance(raw, RawSqlite):
        _write_sqlite(raw)
    elif isinstance(raw, RawPostgres):
        await _write_postgres(raw)
    await raw.settle()


def _write_sqlite(raw: RawSqlite) -> None:
    connection = raw.connection
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'task_devices' AND sql IS NOT NULL"
    ).fetchall()
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TEMP TABLE plan (task_id text, created_at text, total integer, first_id integer)")
    rows = [(each.task_id, to_text(each.created_at), each.total, each.first_id) for each in plan()]
    connection.executemany("INSERT INTO plan VALUES (?, ?, ?, ?)", rows)
    connection.execute("CREATE TEMP TABLE numbers (n integer PRIMARY KEY)")
    connection.executemany("INSERT INTO numbers VALUES (?)", ((number,) for number in range(_LARGEST)))
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    connection.execute(_TASKS.format(column="", bucket=DEFAULT_BUCKET))
    connection.execute(_DEVICES.format(meters=MILLION, numbers="CROSS JOIN numbers ON n < p.total"))
    numbers = f"CROSS JOIN numbers ON n <= (p.total - 1) / {DEFAULT_BUCKET}"
    connection.execute(_BUCKETS.format(bucket=DEFAULT_BUCKET, least="min", numbers=numbers))
    for _, statement in indexes:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")


async def _write_postgres(raw: RawPostgres) -> None:
    connection = raw.connection
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'task_devices' AND indexname NOT LIKE '%pkey'"
    )
    await connection.execute(
        "CREATE TEMP TABLE plan (task_id text, created_at timestamptz, total int, first_id bigint)"
    )
    await connection.copy_records_to_table("plan", records=plan())
    for name, _ in indexes:
        await connection.execute(f"DROP INDEX {name}")
    await connection.execute("SET session_replication_role = replica")  # every row refers to a task of the plan
    await connection.execute(_TASKS.format(column=", first_id", bucket=DEFAULT_BUCKET))
    numbers = "CROSS JOIN LATERAL generate_series(0, p.total - 1) AS n"
    await connection.execute(_DEVICES.format(meters=MILLION, numbers=numbers))
    numbers = f"CROSS JOIN LATERAL generate_series(0, (p.total - 1) / {DEFAULT_BUCKET}) AS n"
    await connection.execute(_BUCKETS.format(bucket=DEFAULT_BUCKET, least="least", numbers=numbers))
    await connection.execute("SELECT setval('task_devices_id_seq', (SELECT max(id) FROM task_devices))")
    await connection.execute("SET session_replication_role = origin")
    for _, statement in indexes:
        await connection.execute(statement)
