"""The claim of the one server that works on a database: a document with a short lease, renewed all the time."""

import asyncio
import contextlib
import time
import uuid
from datetime import timedelta
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError, PyMongoError

from metercast.store.errors import StoreInUse, StoreUnavailable
from metercast.store.mongo.clock import DatabaseClock
from metercast.store.mongo.types import Collection

CLAIM_SECONDS = 15.0
_RENEWALS = 6  # in that time, so that a few late answers do no harm
_RETRY_SECONDS = 0.25
_NAME = "server"


class ServerClaim:
    """Held from `take` on. It goes by the database's clock always: a test's clock has no part in it.

    `check` raises once the claim may have run out, as after a long cut; it is taken again as soon as the database
    answers, unless another server has it by then.
    """

    def __init__(self, client: AsyncMongoClient[Any], collection: Collection, clock: DatabaseClock) -> None:
        self._client = client
        self._collection = collection
        self._clock = clock
        self._owner = uuid.uuid4().hex
        self._good_until = 0.0  # by the monotonic clock
        self._renewing: asyncio.Task[None] | None = None
        self._given_up = False

    async def take(self) -> None:
        """Waits for the end of a dead server's claim. Raises StoreInUse where another server lives."""
        deadline = time.monotonic() + CLAIM_SECONDS + 1
        while not await self._renew():
            if time.monotonic() > deadline:
                raise StoreInUse("another server works on this database")
            await asyncio.sleep(_RETRY_SECONDS)
        self._renewing = asyncio.create_task(self._keep(), name="mongo-claim")

    def check(self) -> None:
        """Raises StoreUnavailable."""
        if time.monotonic() >= self._good_until:
            raise StoreUnavailable("this server's claim on the database has run out and is not yet renewed")

    async def give_up(self) -> None:
        if self._renewing is None:
            return
        self._given_up = True  # PyMongo may swallow the cancellation, see translated()
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        self._renewing = None
        with contextlib.suppress(PyMongoError):  # then it runs out
            await self._collection.delete_one({"_id": _NAME, "owner": self._owner})

    async def _keep(self) -> None:
        held = True
        while not self._given_up:
            await asyncio.sleep(CLAIM_SECONDS / _RENEWALS if held else _RETRY_SECONDS)
            held = False
            with contextlib.suppress(PyMongoError):
                held = await self._renew()
                await self._clock.measure(self._client)

    async def _renew(self) -> bool:
        start = time.monotonic()
        now = self._clock()
        ours_or_dead = {"_id": _NAME, "$or": [{"owner": self._owner}, {"until": {"$lte": now}}]}
        claim = {"owner": self._owner, "until": now + timedelta(seconds=CLAIM_SECONDS)}
        try:
            await self._collection.update_one(ours_or_dead, {"$set": claim}, upsert=True)
        except DuplicateKeyError:  # it is there, and neither ours nor dead
            return False
        self._good_until = start + CLAIM_SECONDS
        return True
