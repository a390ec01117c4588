"""Numbered migrations in plain SQL, each applied once and whole, while others read and write.

`schema_version` says how far a database is. A file that begins with `-- no transaction` has one statement that
PostgreSQL runs in none (CREATE INDEX CONCURRENTLY), which must be one that can be repeated.
"""

import asyncio
import random
from importlib.resources import files
from typing import Any

from asyncpg.exceptions import LockNotAvailableError

from metercast.store.errors import StoreTooNew

NO_TRANSACTION = "-- no transaction"
# How long a migration waits for a table before it gives way to those who use it; it is then tried again.
LOCK_MILLISECONDS = 5000
_TRIES = 10

_CLASS, _MIGRATION = 1296257363, 3  # the advisory lock of migrations

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_version (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  revision integer NOT NULL
)
"""


def migrations() -> list[tuple[int, str]]:
    """(revision, SQL), in order, from 1 without a gap."""
    scripts = sorted(
        (int(entry.name[:4]), entry.read_text())
        for entry in files(__package__).iterdir()
        if entry.name.endswith(".sql")
    )
    assert [revision for revision, _ in scripts] == list(range(1, len(scripts) + 1))
    return scripts


async def migrate(connection: Any, to: int | None = None) -> None:
    """Brings the database of an asyncpg connection to revision `to` (the newest by default). Raises StoreTooNew."""
    scripts = migrations()
    if await _revision(connection) == len(scripts) and to is None:
        return
    # Asked again and again: who waits inside a statement would keep CREATE INDEX CONCURRENTLY waiting.
    while not await connection.fetchval(  # noqa: ASYNC110
        "SELECT pg_try_advisory_lock($1, $2)", _CLASS, _MIGRATION
    ):
        await asyncio.sleep(0.1)
    try:
        await connection.execute(f"SET statement_timeout = 0; SET lock_timeout = {LOCK_MILLISECONDS}")
        current = await _revision(connection)
        if current > len(scripts):
            raise StoreTooNew(f"the database is at revision {current}; this Metercast knows {len(scripts)}")
        if current == 0:
            await connection.execute(_TABLE)
        for revision, script in scripts[current:to]:
            await _apply(connection, revision, script)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1, $2)", _CLASS, _MIGRATION)
        await connection.execute("RESET statement_timeout; RESET lock_timeout")


async def _apply(connection: Any, revision: int, script: str) -> None:
    for left in reversed(range(_TRIES)):
        try:
            await _apply_once(connection, revision, script)
        except LockNotAvailableError:
            if not left:
                raise
            await asyncio.sleep(random.uniform(0.5, 1.5))
        else:
            return


async def _apply_once(connection: Any, revision: int, script: str) -> None:
    if script.startswith(NO_TRANSACTION):
        await connection.execute(script, timeout=None)
        await _note(connection, revision)
        return
    async with connection.transaction():
        await connection.execute(script, timeout=None)
        await _note(connection, revision)


async def _note(connection: Any, revision: int) -> None:
    await connection.execute(
        "INSERT INTO schema_version (revision) VALUES ($1) ON CONFLICT (only_row) DO UPDATE SET revision = $1", revision
    )


async def _revision(connection: Any) -> int:
    if await connection.fetchval("SELECT to_regclass('schema_version') IS NULL"):
        return 0
    return int(await connection.fetchval("SELECT coalesce(max(revision), 0) FROM schema_version"))
