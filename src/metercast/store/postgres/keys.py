"""API keys on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from metercast.domain.problem import Conflict, NotFound
from metercast.store.keys import ApiKey, Role
from metercast.store.postgres.database import Connection, Database

_SELECT = "SELECT key_id, name, role, created_at, revoked_at FROM api_keys"

_ADD = """
INSERT INTO api_keys (key_id, name, role, secret_hash, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING key_id
"""
_REVOKE = "UPDATE api_keys SET revoked_at = $2 WHERE key_id = $1 AND revoked_at IS NULL"


class PostgresKeys:
    """Implements store.keys.KeyStore."""

    database: Database

    async def add_key(self, key_id: str, name: str, role: Role, secret_hash: bytes) -> ApiKey:
        async def work(connection: Connection, now: datetime) -> ApiKey:
            if await connection.fetchrow(_ADD, key_id, name, role.value, secret_hash, now) is None:
                raise Conflict(f"there is a key {key_id} already")
            return ApiKey(key_id, name, role, now)

        return await self.database.write(work, repeat=False)

    async def find_key(self, secret_hash: bytes) -> ApiKey | None:
        row = await self.database.call(f"{_SELECT} WHERE secret_hash = $1", secret_hash)
        return None if row is None else _key(row)

    async def list_keys(self) -> list[ApiKey]:
        return [_key(row) for row in await self.database.rows(f"{_SELECT} ORDER BY created_at, key_id")]

    async def revoke_key(self, key_id: str) -> ApiKey:
        async def work(connection: Connection, now: datetime) -> ApiKey:
            await connection.execute(_REVOKE, key_id, now)
            row = await connection.fetchrow(f"{_SELECT} WHERE key_id = $1", key_id)
            if row is None:
                raise NotFound(f"no key {key_id}")
            return _key(row)

        return await self.database.write(work)


def _key(row: Sequence[Any]) -> ApiKey:
    key_id, name, role, created_at, revoked_at = row
    return ApiKey(key_id, name, Role(role), created_at, revoked_at)
