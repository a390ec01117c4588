"""Firmware images on SQLite."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from metercast.domain.problem import Conflict, NotFound
from metercast.store.images import STALE_UPLOAD_SECONDS, Image, Transfer, check_same, check_whole
from metercast.store.sqlite.database import Database
from metercast.store.sqlite.times import from_text, to_text

_PIECE = 500
_COLUMNS = "name, sha256, size, created_at"
_SEALED = f"SELECT {_COLUMNS} FROM images WHERE sealed = 1"

_BEGIN = """
INSERT INTO images (sha256, name, size, created_at, begun_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET name = excluded.name, size = excluded.size, created_at = excluded.created_at,
  begun_at = excluded.begun_at
"""
_SWEEP_CHUNKS = """
DELETE FROM image_chunks WHERE sha256 IN (SELECT sha256 FROM images WHERE sealed = 0 AND begun_at < ?)
"""
_SWEEP = "DELETE FROM images WHERE sealed = 0 AND begun_at < ?"
_CLEAR = "DELETE FROM image_chunks WHERE sha256 = ?"
_PUT_CHUNK = """
INSERT OR REPLACE INTO image_chunks (sha256, number, octets)
SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM images WHERE sha256 = ?1 AND sealed = 0)
"""
_WRITTEN = "SELECT count(*), coalesce(sum(length(octets)), 0) FROM image_chunks WHERE sha256 = ?"
_READ_CHUNK = """
SELECT octets FROM image_chunks JOIN images USING (sha256) WHERE sha256 = ? AND number = ? AND sealed = 1
"""
_NOTE = "INSERT OR REPLACE INTO image_transfers (device_id, sha256, blocks, total) VALUES (?, ?, ?, ?)"
_TRANSFERS = "SELECT device_id, sha256, blocks, total FROM image_transfers"


class SqliteImages:
    """Implements store.images.ImageStore."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def begin_image(self, name: str, sha256: str, size: int, created_at: datetime | None = None) -> Image | None:
        def work(connection: sqlite3.Connection, now: datetime) -> Image | None:
            found = connection.execute(f"{_SEALED} AND (sha256 = ? OR name = ?)", (sha256, name)).fetchone()
            if found is not None:
                return check_same(_image(found), name, sha256)
            stale = to_text(now - timedelta(seconds=STALE_UPLOAD_SECONDS))
            connection.execute(_SWEEP_CHUNKS, (stale,))
            connection.execute(_SWEEP, (stale,))
            connection.execute(_CLEAR, (sha256,))
            connection.execute(_BEGIN, (sha256, name, size, to_text(created_at or now), to_text(now)))
            return None

        return await self.database.write(work)

    async def put_image_chunk(self, sha256: str, number: int, octets: bytes) -> None:
        def work(connection: sqlite3.Connection, now: datetime) -> None:
            if not connection.execute(_PUT_CHUNK, (sha256, number, octets)).rowcount:
                raise _no_upload(sha256)

        await self.database.write(work)

    async def seal_image(self, sha256: str) -> Image:
        def work(connection: sqlite3.Connection, now: datetime) -> Image:
            row = connection.execute(f"SELECT {_COLUMNS} FROM images WHERE sha256 = ?", (sha256,)).fetchone()
            if row is None:
                raise _no_upload(sha256)
            image = _image(row)
            check_whole(sha256, image.size, *connection.execute(_WRITTEN, (sha256,)).fetchone())
            try:
                connection.execute("UPDATE images SET sealed = 1 WHERE sha256 = ?", (sha256,))
            except sqlite3.IntegrityError:
                raise Conflict(f"there is another image {image.name!r}") from None
            return image

        return await self.database.write(work)

    async def list_images(self) -> list[Image]:
        return await self.database.read(
            lambda connection: [_image(row) for row in connection.execute(f"{_SEALED} ORDER BY name")]
        )

    async def find_image(self, sha256: str) -> Image | None:
        row = await self.database.read(
            lambda connection: connection.execute(f"{_SEALED} AND sha256 = ?", (sha256,)).fetchone()
        )
        return None if row is None else _image(row)

    async def read_image_chunk(self, sha256: str, number: int) -> bytes:
        row = await self.database.read(lambda connection: connection.execute(_READ_CHUNK, (sha256, number)).fetchone())
        if row is None:
            raise NotFound(f"image {sha256} has no piece {number}")
        return bytes(row[0])

    async def delete_image(self, sha256: str) -> None:
        def work(connection: sqlite3.Connection, now: datetime) -> None:
            if not connection.execute("DELETE FROM images WHERE sha256 = ? AND sealed = 1", (sha256,)).rowcount:
                raise NotFound(f"no image {sha256}")
            connection.execute(_CLEAR, (sha256,))

        await self.database.write(work)

    async def note_transfers(self, transfers: Sequence[Transfer]) -> None:
        rows = [(each.device_id, each.sha256, each.blocks, each.total) for each in transfers]
        await self.database.write(lambda connection, now: connection.executemany(_NOTE, rows))

    async def find_transfer(self, device_id: str) -> Transfer | None:
        row = await self.database.read(
            lambda connection: connection.execute(f"{_TRANSFERS} WHERE device_id = ?", (device_id,)).fetchone()
        )
        return None if row is None else Transfer(*row)

    async def export_transfers(self) -> AsyncIterator[list[Transfer]]:
        def work(connection: sqlite3.Connection) -> list[Transfer]:
            statement = f"{_TRANSFERS} WHERE device_id > ? ORDER BY device_id LIMIT {_PIECE}"
            return [Transfer(*row) for row in connection.execute(statement, (after,))]

        after = ""
        while found := await self.database.read(work):
            yield found
            after = found[-1].device_id


def _image(row: Sequence[Any]) -> Image:
    name, sha256, size, created_at = row
    return Image(name, sha256, size, from_text(created_at))


def _no_upload(sha256: str) -> NotFound:
    return NotFound(f"no upload of image {sha256} has begun")
