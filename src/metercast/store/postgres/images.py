"""Firmware images on PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from asyncpg.exceptions import UniqueViolationError

from metercast.domain.problem import Conflict, NotFound
from metercast.store.images import STALE_UPLOAD_SECONDS, Image, Transfer, check_same, check_whole
from metercast.store.postgres.database import Connection, Database
from metercast.store.postgres.texts import findable

_PAGE = 1000
_COLUMNS = "name, sha256, size, created_at"
_SEALED = f"SELECT {_COLUMNS} FROM images WHERE sealed"

_BEGIN = """
INSERT INTO images (sha256, name, size, created_at, begun_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (sha256) DO UPDATE SET name = excluded.name, size = excluded.size, created_at = excluded.created_at,
  begun_at = excluded.begun_at WHERE NOT images.sealed
"""
_SWEEP_CHUNKS = """
DELETE FROM image_chunks WHERE sha256 IN (SELECT sha256 FROM images WHERE NOT sealed AND begun_at < $1)
"""
_SWEEP = "DELETE FROM images WHERE NOT sealed AND begun_at < $1"
_CLEAR = "DELETE FROM image_chunks WHERE sha256 = $1"
_PUT_CHUNK = """
INSERT INTO image_chunks (sha256, number, octets)
SELECT $1::varchar, $2::integer, $3::bytea WHERE EXISTS (SELECT 1 FROM images WHERE sha256 = $1 AND NOT sealed)
ON CONFLICT (sha256, number) DO UPDATE SET octets = excluded.octets RETURNING 1
"""
_FIND = f"SELECT {_COLUMNS} FROM images WHERE sha256 = $1 FOR UPDATE"
_WRITTEN = "SELECT count(*), coalesce(sum(octet_length(octets)), 0)::bigint FROM image_chunks WHERE sha256 = $1"
_READ_CHUNK = """
SELECT octets FROM image_chunks JOIN images USING (sha256) WHERE sha256 = $1 AND number = $2 AND sealed
"""
_NOTE = """
INSERT INTO image_transfers (device_id, sha256, blocks, total)
SELECT * FROM unnest($1::varchar[], $2::varchar[], $3::integer[], $4::integer[])
ON CONFLICT (device_id) DO UPDATE SET sha256 = excluded.sha256, blocks = excluded.blocks, total = excluded.total
"""
_TRANSFERS = "SELECT device_id, sha256, blocks, total FROM image_transfers"


class PostgresImages:
    """Implements store.images.ImageStore."""

    database: Database

    async def begin_image(self, name: str, sha256: str, size: int, created_at: datetime | None = None) -> Image | None:
        async def work(connection: Connection, now: datetime) -> Image | None:
            found = await connection.fetchrow(f"{_SEALED} AND (sha256 = $1 OR name = $2)", sha256, name)
            if found is not None:
                return check_same(_image(found), name, sha256)
            stale = now - timedelta(seconds=STALE_UPLOAD_SECONDS)
            await connection.execute(_SWEEP_CHUNKS, stale)
            await connection.execute(_SWEEP, stale)
            await connection.execute(_CLEAR, sha256)
            await connection.execute(_BEGIN, sha256, name, size, created_at or now, now)
            return None

        return await self.database.write(work)

    async def put_image_chunk(self, sha256: str, number: int, octets: bytes) -> None:
        if await self.database.call(_PUT_CHUNK, sha256, number, octets) is None:
            raise _no_upload(sha256)

    async def seal_image(self, sha256: str) -> Image:
        async def work(connection: Connection, now: datetime) -> Image:
            row = await connection.fetchrow(_FIND, sha256)
            if row is None:
                raise _no_upload(sha256)
            image = _image(row)
            chunks, octets = await connection.fetchrow(_WRITTEN, sha256)
            check_whole(sha256, image.size, chunks, octets)
            try:
                await connection.execute("UPDATE images SET sealed = true WHERE sha256 = $1", sha256)
            except UniqueViolationError:
                raise Conflict(f"there is another image {image.name!r}") from None
            return image

        return await self.database.write(work)

    async def list_images(self) -> list[Image]:
        return [_image(row) for row in await self.database.rows(f"{_SEALED} ORDER BY name")]

    async def find_image(self, sha256: str) -> Image | None:
        row = await self.database.call(f"{_SEALED} AND sha256 = $1", sha256)
        return None if row is None else _image(row)

    async def read_image_chunk(self, sha256: str, number: int) -> bytes:
        row = await self.database.call(_READ_CHUNK, sha256, number)
        if row is None:
            raise NotFound(f"image {sha256} has no piece {number}")
        return bytes(row[0])

    async def delete_image(self, sha256: str) -> None:
        async def work(connection: Connection, now: datetime) -> None:
            deleted = "DELETE FROM images WHERE sha256 = $1 AND sealed RETURNING 1"
            if await connection.fetchrow(deleted, sha256) is None:
                raise NotFound(f"no image {sha256}")
            await connection.execute(_CLEAR, sha256)

        await self.database.write(work, repeat=False)

    async def note_transfers(self, transfers: Sequence[Transfer]) -> None:
        noted = sorted({each.device_id: each for each in transfers}.values(), key=lambda each: each.device_id)
        await self.database.call(
            _NOTE,
            [each.device_id for each in noted],
            [each.sha256 for each in noted],
            [each.blocks for each in noted],
            [each.total for each in noted],
        )

    async def find_transfer(self, device_id: str) -> Transfer | None:
        row = await self.database.call(f"{_TRANSFERS} WHERE device_id = $1", findable(device_id))
        return None if row is None else Transfer(*row)

    async def export_transfers(self) -> AsyncIterator[list[Transfer]]:
        statement = f"{_TRANSFERS} WHERE device_id > $1 ORDER BY device_id LIMIT {_PAGE}"
        after = ""
        while rows := await self.database.rows(statement, after):
            yield [Transfer(*row) for row in rows]
            after = rows[-1][0]


def _image(row: Sequence[Any]) -> Image:
    name, sha256, size, created_at = row
    return Image(name, sha256, size, created_at)


def _no_upload(sha256: str) -> NotFound:
    return NotFound(f"no upload of image {sha256} has begun")
