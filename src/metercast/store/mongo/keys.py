"""API keys on MongoDB."""

from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError

from metercast.domain.problem import Conflict, NotFound
from metercast.store.keys import ApiKey, Role
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.times import find_time, get_time, put_time, set_time
from metercast.store.mongo.types import Document


class MongoKeys:
    """Implements store.keys.KeyStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def add_key(self, key_id: str, name: str, role: Role, secret_hash: bytes) -> ApiKey:
        key = ApiKey(key_id, name, role, self.database.clock())
        try:
            await self.database.keys.insert_one(key_document(key, secret_hash))
        except DuplicateKeyError:
            raise Conflict(f"there is a key {key_id} already") from None
        return key

    @call
    async def find_key(self, secret_hash: bytes) -> ApiKey | None:
        found = await self.database.keys.find_one({"secretHash": secret_hash})
        return None if found is None else api_key(found)

    @call
    async def list_keys(self) -> list[ApiKey]:
        return [api_key(each) async for each in self.database.keys.find().sort([("createdAt", 1), ("_id", 1)])]

    @call
    async def revoke_key(self, key_id: str) -> ApiKey:
        fields: Document = {}
        set_time(fields, "revokedAt", self.database.clock())
        await self.database.keys.update_one({"_id": key_id, "revokedAt": None}, {"$set": fields})
        found = await self.database.keys.find_one({"_id": key_id})
        if found is None:
            raise NotFound(f"no key {key_id}")
        return api_key(found)


def key_document(key: ApiKey, secret_hash: bytes) -> Document:
    document: Document = {"_id": key.key_id, "name": key.name, "role": key.role, "secretHash": secret_hash}
    put_time(document, "createdAt", key.created_at)
    put_time(document, "revokedAt", key.revoked_at)
    return document


def api_key(found: Mapping[str, Any]) -> ApiKey:
    created_at, revoked_at = get_time(found, "createdAt"), find_time(found, "revokedAt")
    return ApiKey(found["_id"], found["name"], Role(found["role"]), created_at, revoked_at)
