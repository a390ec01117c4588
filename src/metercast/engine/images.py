"""The registry of firmware images: put, list, delete. Each is stored once, and never while half of it is there."""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import IO, Self

import structlog

from metercast.commands.contract import CommandType
from metercast.domain.problem import Conflict, InvalidField, NotFound, Unavailable
from metercast.domain.states import FINAL_TASK, TaskStatus
from metercast.domain.task import Task, TransferProgress
from metercast.engine.apikeys import Caller
from metercast.store.contract import Store
from metercast.store.images import IMAGE_CHUNK, Image
from metercast.store.tasks import TaskQuery

log = structlog.get_logger()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_PAGE = 500
SHA256 = "sha256:"


class ImageSpool:
    """An image as it comes: on a file without a name, hashed on the way. Its calls block."""

    def __init__(self, directory: Path) -> None:
        self._hash = hashlib.sha256()
        self.size = 0
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        except OSError as error:
            raise _no_room(error) from None

    def add(self, octets: bytes) -> None:
        """Raises Unavailable where the disk says no."""
        try:
            self._file.write(octets)
        except OSError as error:
            raise _no_room(error) from None
        self._hash.update(octets)
        self.size += len(octets)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def piece(self, number: int) -> bytes:
        """As the store takes them."""
        try:
            self._file.seek(number * IMAGE_CHUNK)
            return self._file.read(IMAGE_CHUNK)
        except OSError as error:
            raise _no_room(error) from None

    async def fill(self, chunks: AsyncIterator[bytes]) -> Self:
        """Takes all of `chunks`."""
        async for chunk in chunks:
            await asyncio.to_thread(self.add, chunk)
        return self

    def close(self) -> None:
        self._file.close()


class Images:
    """`users` are the command types that name an image in their parameters."""

    def __init__(self, store: Store, commands: Iterable[CommandType]) -> None:
        self._store = store
        self._users = [command for command in commands if command.image_of is not None]
        # Looking whether a task uses an image and deleting it is one step, and so is looking for it and using it.
        self.lock = asyncio.Lock()

    async def put(self, name: str, spool: ImageSpool, sha256: str | None, caller: Caller) -> tuple[Image, bool]:
        """The image, and whether it is new. Raises InvalidField, and Conflict where the name or the octets are there
        otherwise."""
        check_name(name)
        digest = spool.sha256
        if spool.size == 0:
            raise InvalidField("body", "", "an image has at least one octet")
        if sha256 is not None and sha256.lower() != digest:
            raise InvalidField("sha256", sha256, f"the octets that came have SHA-256 {digest}")
        found = await self._store.begin_image(name, digest, spool.size)
        if found is not None:
            return found, False
        number = 0
        while octets := await asyncio.to_thread(spool.piece, number):
            await self._store.put_image_chunk(digest, number, octets)
            number += 1
        image = await self._store.seal_image(digest)
        log.info("image.put", name=name, sha256=digest, size=spool.size, by=caller.key_id)
        return image, True

    async def all(self) -> list[Image]:
        """In order of name."""
        return await self._store.list_images()

    async def get(self, name: str) -> Image:
        """Raises NotFound."""
        found = await self.find(name)
        if found is None:
            raise NotFound(f"no image {name!r}")
        return found

    async def find(self, reference: str) -> Image | None:
        """By its name, or by `sha256:` and the hash."""
        if reference.startswith(SHA256):
            return await self._store.find_image(reference.removeprefix(SHA256).lower())
        return next((each for each in await self._store.list_images() if each.name == reference), None)

    async def progress(self, reference: str, device_id: str) -> TransferProgress | None:
        """How far the image came into the meter; None where it is not what the meter was told to take last."""
        image, transfer = await self.find(reference), await self._store.find_transfer(device_id)
        if image is None or transfer is None or transfer.sha256 != image.sha256 or not transfer.total:
            return None
        percent = round(100 * transfer.blocks / transfer.total, 1)
        return TransferProgress(transfer.blocks, transfer.total, percent)

    async def delete(self, name: str, caller: Caller) -> None:
        """Raises NotFound, and Conflict while a task that is not over names it."""
        async with self.lock:
            image = await self.get(name)
            task = await self._user(image)
            if task is not None:
                raise Conflict(f"task {task.task_id} needs image {name!r} and is not over")
            await self._store.delete_image(image.sha256)
        log.info("image.deleted", name=name, sha256=image.sha256, by=caller.key_id)

    async def _user(self, image: Image) -> Task | None:
        """A task that is not over and names it."""
        names = {image.name, SHA256 + image.sha256}
        for command in self._users:
            for status in TaskStatus:
                if status in FINAL_TASK:
                    continue
                cursor: str | None = None
                while True:
                    query = TaskQuery(command_type=command.name, status=status)
                    page = await self._store.list_tasks(query, _PAGE, cursor)
                    for task in page.items:
                        if command.image_named(task.command_params) in names:
                            return task
                    cursor = page.next_cursor
                    if cursor is None:
                        break
        return None


def check_name(name: str) -> None:
    """InvalidField where it is no name of an image."""
    if not _NAME.fullmatch(name):
        reason = "an image's name has 1 to 128 letters, digits, '.', '_', '+' or '-', and begins with a letter or digit"
        raise InvalidField("name", name, reason)


def _no_room(error: OSError) -> Unavailable:
    return Unavailable(f"cannot spool the image: {error.strerror}")
