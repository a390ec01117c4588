"""The store's contract for API keys: hashes only."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class Role(StrEnum):
    """Each may do what the one before may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


class ApiKey(msgspec.Struct, frozen=True, rename="camel"):
    """A key without its secret. `revoked_at` is None while it is good."""

    key_id: str
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None = None


class KeyStore(Protocol):
    async def add_key(self, key_id: str, name: str, role: Role, secret_hash: bytes) -> ApiKey:
        """Raises domain.problem.Conflict where the id exists."""
        ...

    async def find_key(self, secret_hash: bytes) -> ApiKey | None:
        """The key with this hash, revoked or not."""
        ...

    async def list_keys(self) -> list[ApiKey]:
        """Oldest first."""
        ...

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Raises domain.problem.NotFound. Revoking twice changes nothing."""
        ...
