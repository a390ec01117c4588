"""Invocation counters on MongoDB: one guarded update each, so that no value is given twice whoever asks."""

from pymongo.errors import DuplicateKeyError

from metercast.store.counters import CounterExhausted, CounterName
from metercast.store.mongo.database import Database, call
from metercast.store.mongo.rounds import Rounds
from metercast.store.mongo.types import Document

_LIMIT = 2**32


class MongoCounters:
    """Implements store.counters.CounterStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def reserve_counters(self, name: CounterName, count: int, at_least: int = 0) -> int:
        if count < 0:
            raise ValueError(f"cannot reserve {count} values")
        key = counter_key(name)
        rounds = Rounds(f"the counter of {name.device_id}")
        while True:
            await rounds.next()
            found = await self.database.counters.find_one({"_id": key})
            first = max(at_least, 1 if found is None else int(found["nextValue"]))
            if first + count > _LIMIT:
                raise CounterExhausted(f"the invocation counter of {name.device_id} is at {first} of {_LIMIT}")
            if not count or await self._set(key, found, first + count):
                return first

    async def _set(self, key: Document, found: Document | None, next_value: int) -> bool:
        """Whether it was still as `found`. Where the answer is lost, the values are skipped and never given."""
        if found is None:
            try:
                await self.database.counters.insert_one({"_id": key, "nextValue": next_value})
            except DuplicateKeyError:
                return False
            return True
        guard = {"_id": key, "nextValue": found["nextValue"]}
        return (await self.database.counters.update_one(guard, {"$set": {"nextValue": next_value}})).matched_count == 1


def counter_key(name: CounterName) -> Document:
    return {"deviceId": name.device_id, "key": name.key, "clientSystemTitle": name.client_system_title}
