"""API keys on SQLite."""

import sqlite3
from datetime import datetime
from typing import Any

from metercast.domain.problem import Conflict, NotFound
from metercast.store.keys import ApiKey, Role
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.times import from_text, optional, to_text

_SELECT = "SELECT key_id, name, role, created_at, revoked_at FROM api_keys"


class SqliteKeys:
    """Implements store.keys.KeyStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add_key(self, key_id: str, name: str, role: Role, secret_hash: bytes) -> ApiKey:
        def work(connection: sqlite3.Connection, now: datetime) -> ApiKey:
            try:
                connection.execute(
                    "INSERT INTO api_keys (key_id, name, role, secret_hash, created_at) VALUES (?, ?, ?, ?, ?)",
                    (key_id, name, role.value, secret_hash, to_text(now)),
                )
            except sqlite3.IntegrityError:
                raise Conflict(f"there is a key {key_id} already") from None
            return ApiKey(key_id, name, role, now)

        return await self.database.write(work)

    async def find_key(self, secret_hash: bytes) -> ApiKey | None:
        def work(connection: sqlite3.Connection) -> ApiKey | None:
            row = connection.execute(f"{_SELECT} WHERE secret_hash = ?", (secret_hash,)).fetchone()
            return _key(row) if row else None

        return await self.database.read(work)

    async def list_keys(self) -> list[ApiKey]:
        return await self.database.read(
            lambda connection: [_key(row) for row in connection.execute(f"{_SELECT} ORDER BY created_at, key_id")]
        )

    async def revoke_key(self, key_id: str) -> ApiKey:
        def work(connection: sqlite3.Connection, now: datetime) -> ApiKey:
            connection.execute(
                "UPDATE api_keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL", (to_text(now), key_id)
            )
            row = connection.execute(f"{_SELECT} WHERE key_id = ?", (key_id,)).fetchone()
            if row is None:
                raise NotFound(f"no key {key_id}")
            return _key(row)

        return await self.database.write(work)


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, name, role, created_at, revoked_at = row
    return ApiKey(key_id, name, Role(role), from_text(created_at), optional(revoked_at))
