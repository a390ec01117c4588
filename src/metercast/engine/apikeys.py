"""API keys: who may call, and as what. Each change is logged, without the key."""

from collections.abc import Callable

import msgspec
import structlog

from metercast.domain.problem import Conflict, InvalidField
from metercast.store.keys import ApiKey, KeyStore, Role
from metercast.vault import NewApiKey, hash_api_key, new_api_key

log = structlog.get_logger()


class Caller(msgspec.Struct, frozen=True):
    """Who calls."""

    key_id: str
    name: str
    role: Role


LOCAL = Caller("local", "local", Role.ADMIN)  # on a loopback address, without a key


class ApiKeys:
    def __init__(self, store: KeyStore) -> None:
        self._store = store

    async def authenticate(self, token: str) -> Caller | None:
        """Who holds this key; None for one that is unknown or revoked."""
        found = await self._store.find_key(hash_api_key(token))
        if found is None or found.revoked_at is not None:
            return None
        return Caller(found.key_id, found.name, found.role)

    async def create(self, name: str, role: Role, caller: Caller) -> tuple[ApiKey, NewApiKey]:
        """The stored key and, for this once, the key itself."""
        if not (1 <= len(name) <= 255 and name.isprintable()):
            raise InvalidField("name", name, "1 to 255 printable characters")
        key = new_api_key()
        stored = await self._store.add_key(key.key_id, name, role, key.secret_hash)
        log.info("api_key.created", key_id=key.key_id, name=name, role=role.value, by=caller.key_id)
        return stored, key

    async def all(self) -> list[ApiKey]:
        return await self._store.list_keys()

    async def revoke(self, key_id: str, caller: Caller) -> ApiKey:
        """Good from the next request on. The last admin key stays: without it nobody could make another."""
        admins = await self._admins()
        if [each.key_id for each in admins] == [key_id]:
            raise Conflict(f"{key_id} is the last admin key: create another one first")
        revoked = await self._store.revoke_key(key_id)
        log.info("api_key.revoked", key_id=key_id, name=revoked.name, by=caller.key_id)
        return revoked

    async def ensure_admin(self, save: Callable[[str], None]) -> bool:
        """Where no admin key is good: makes one and hands it to `save`, once; whether it did."""
        if await self._admins():
            return False
        key = new_api_key()
        save(key.token)
        await self._store.add_key(key.key_id, "admin", Role.ADMIN, key.secret_hash)
        log.info("api_key.created", key_id=key.key_id, name="admin", role=Role.ADMIN.value, by="first start")
        return True

    async def _admins(self) -> list[ApiKey]:
        return [key for key in await self._store.list_keys() if key.role is Role.ADMIN and key.revoked_at is None]
