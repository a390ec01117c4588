"""Firmware images on MongoDB: a document for each piece, far below the limit of one.

An image is seen by its header, which is written first, not sealed, and deleted last: whatever is cut leaves a header
that the next upload sweeps with its pieces.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import ReplaceOne
from pymongo.errors import DuplicateKeyError

from metercast.domain.problem import Conflict, NotFound
from metercast.store.images import STALE_UPLOAD_SECONDS, Image, Transfer, check_same, check_whole
from metercast.store.mongo.database import Database, call, stream
from metercast.store.mongo.times import get_time, put_time
from metercast.store.mongo.types import Document

_PAGE = 1000


class MongoImages:
    """Implements store.images.ImageStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @call
    async def begin_image(self, name: str, sha256: str, size: int, created_at: datetime | None = None) -> Image | None:
        found = await self._sealed({"$or": [{"_id": sha256}, {"name": name}]})
        if found is not None:
            return check_same(found, name, sha256)
        now = self.database.clock()
        await self._sweep(now)
        header: Document = {"_id": sha256, "name": name, "size": size, "sealed": False, "begunAt": now}
        put_time(header, "createdAt", created_at or now)
        try:
            await self.database.images.replace_one({"_id": sha256, "sealed": False}, header, upsert=True)
        except DuplicateKeyError:  # another has sealed it meanwhile
            sealed = await self._sealed({"_id": sha256})
            if sealed is None:
                raise Conflict(f"image {sha256} is being uploaded by another") from None
            return check_same(sealed, name, sha256)
        await self.database.image_chunks.delete_many({"sha256": sha256})
        return None

    @call
    async def put_image_chunk(self, sha256: str, number: int, octets: bytes) -> None:
        if await self.database.images.find_one({"_id": sha256, "sealed": False}, {"_id": 1}) is None:
            raise _no_upload(sha256)
        key = _chunk_key(sha256, number)
        piece: Document = {"_id": key, "sha256": sha256, "size": len(octets), "octets": octets}
        await self.database.image_chunks.replace_one({"_id": key}, piece, upsert=True)

    @call
    async def seal_image(self, sha256: str) -> Image:
        header = await self.database.images.find_one({"_id": sha256})
        if header is None:
            raise _no_upload(sha256)
        sizes = [each["size"] async for each in self.database.image_chunks.find({"sha256": sha256}, {"size": 1})]
        check_whole(sha256, header["size"], len(sizes), sum(sizes))
        if not header["sealed"]:
            other = await self._sealed({"name": header["name"]})
            if other is not None:
                raise _taken(header["name"])
            try:
                await self.database.images.update_one({"_id": sha256}, {"$set": {"sealed": True}})
            except DuplicateKeyError:
                raise _taken(header["name"]) from None
        return _image(header)

    @call
    async def list_images(self) -> list[Image]:
        return [_image(each) async for each in self.database.images.find({"sealed": True}).sort("name")]

    @call
    async def find_image(self, sha256: str) -> Image | None:
        return await self._sealed({"_id": sha256})

    @call
    async def read_image_chunk(self, sha256: str, number: int) -> bytes:
        found = await self.database.image_chunks.find_one({"_id": _chunk_key(sha256, number)})
        if found is None or await self._sealed({"_id": sha256}) is None:
            raise NotFound(f"image {sha256} has no piece {number}")
        return bytes(found["octets"])

    @call
    async def delete_image(self, sha256: str) -> None:
        gone = await self.database.images.update_one({"_id": sha256, "sealed": True}, {"$set": {"sealed": False}})
        if not gone.matched_count:
            raise NotFound(f"no image {sha256}")
        await self.database.image_chunks.delete_many({"sha256": sha256})
        await self.database.images.delete_one({"_id": sha256, "sealed": False})

    @call
    async def note_transfers(self, transfers: Sequence[Transfer]) -> None:
        writes = [ReplaceOne({"_id": each.device_id}, _noted(each), upsert=True) for each in transfers]
        if writes:
            await self.database.transfers.bulk_write(writes)

    @call
    async def find_transfer(self, device_id: str) -> Transfer | None:
        found = await self.database.transfers.find_one({"_id": device_id})
        return None if found is None else _transfer(found)

    @stream
    async def export_transfers(self) -> AsyncIterator[list[Transfer]]:
        after: Document = {}
        while found := [each async for each in self.database.transfers.find(after).sort("_id").limit(_PAGE)]:
            yield [_transfer(each) for each in found]
            after = {"_id": {"$gt": found[-1]["_id"]}}

    async def _sealed(self, which: Document) -> Image | None:
        found = await self.database.images.find_one(which | {"sealed": True})
        return None if found is None else _image(found)

    async def _sweep(self, now: datetime) -> None:
        """Pieces before their header, so that what is cut here is swept the next time."""
        stale = {"sealed": False, "begunAt": {"$lt": now - timedelta(seconds=STALE_UPLOAD_SECONDS)}}
        async for each in self.database.images.find(stale, {"_id": 1}):
            await self.database.image_chunks.delete_many({"sha256": each["_id"]})
            await self.database.images.delete_one({"_id": each["_id"], "sealed": False})


def _image(found: Mapping[str, Any]) -> Image:
    return Image(found["name"], found["_id"], int(found["size"]), get_time(found, "createdAt"))


def _noted(transfer: Transfer) -> Document:
    return {
        "_id": transfer.device_id, "sha256": transfer.sha256, "blocks": transfer.blocks, "total": transfer.total,
    }  # fmt: skip


def _transfer(found: Mapping[str, Any]) -> Transfer:
    return Transfer(found["_id"], found["sha256"], int(found["blocks"]), int(found["total"]))


def _chunk_key(sha256: str, number: int) -> str:
    return f"{sha256}/{number}"


def _taken(name: str) -> Conflict:
    return Conflict(f"there is another image {name!r}")


def _no_upload(sha256: str) -> NotFound:
    return NotFound(f"no upload of image {sha256} has begun")
