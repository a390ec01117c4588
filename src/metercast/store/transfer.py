"""Everything out of one store and into another: as it is, verified by checksums, and resumed where it was cut."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from metercast.domain.problem import Conflict
from metercast.store.copying import CopyStore, TaskRecord

T = TypeVar("T")

# What is copied: hears the noun, how many are done and how many there are, where that is known.
Tell = Callable[[str, int, int | None], None]


class CopyDiffers(Exception):
    """The target does not hold what the source does. The text says what, and holds no secret."""


class Copied(msgspec.Struct, frozen=True):
    """How much the target now holds. `skipped` tasks were there already, from an earlier run. `checksum`, in hex, is
    that of all records of either side, in the contract's order."""

    meters: int
    counters: int
    keys: int
    images: int
    tasks: int
    skipped: int
    devices: int
    checksum: str


async def copy_store(source: CopyStore, target: CopyStore, tell: Tell = lambda noun, done, total: None) -> Copied:
    """Copies, then reads the target back and compares. No engine may run on either.

    Repeating it is harmless: tasks that are there are not written again, and what was cut in the middle is written
    anew. Raises CopyDiffers where the target holds something else.
    """
    total = Checksum()
    meters = await _copied("meters", source.export_meters(), target.import_meters, target.export_meters(), total, tell)
    counters = await _copied(
        "counters", source.export_counters(), target.import_counters, target.export_counters(), total, tell
    )
    keys = await _copied("keys", _once(source.export_keys), target.import_keys, _once(target.export_keys), total, tell)
    images = await _copy_images(source, target, total, tell)
    await _copied(
        "image transfers", source.export_transfers(), target.note_transfers, target.export_transfers(), total, tell
    )
    digests, skipped, devices = await _copy_tasks(source, target, total, tell)
    await _verify_tasks(target, digests, devices, tell)
    return Copied(meters, counters, keys, images, len(digests), skipped, devices, total.hex())


class Checksum:
    """Over records, in their order. JSON objects count by what they hold, not by the order of their names."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.records = 0

    def add(self, record: Any) -> None:
        self._hash.update(_encode(record))
        self._hash.update(b"\n")
        self.records += 1

    def digest(self) -> bytes:
        return self._hash.digest()

    def hex(self) -> str:
        return self._hash.hexdigest()


async def _copied(
    noun: str,
    exported: AsyncIterator[list[T]],
    put: Callable[[list[T]], Awaitable[None]],
    put_back: AsyncIterator[list[T]],
    total: Checksum,
    tell: Tell,
) -> int:
    """Copies the records of a noun and compares; how many there are."""
    theirs, ours = Checksum(), Checksum()
    async for records in exported:
        await put(records)
        for record in records:
            theirs.add(record)
            total.add(record)
        tell(noun, theirs.records, None)
    async for records in put_back:
        for record in records:
            ours.add(record)
    if ours.digest() != theirs.digest():
        raise CopyDiffers(
            f"{noun}: the source holds {theirs.records}, the target {ours.records}, and their checksums differ"
        )
    return theirs.records


async def _copy_images(source: CopyStore, target: CopyStore, total: Checksum, tell: Tell) -> int:
    """Images with their octets, a piece at a time; how many there are. What is there, sealed, is not written again."""
    images = await source.list_images()
    for done, image in enumerate(images, 1):
        try:
            there = await target.begin_image(image.name, image.sha256, image.size, image.created_at)
        except Conflict as error:
            raise CopyDiffers(f"image {image.name!r}: {error.detail}") from None
        if there is None:
            for number in range(image.chunks):
                octets = await source.read_image_chunk(image.sha256, number)
                await target.put_image_chunk(image.sha256, number, octets)
            await target.seal_image(image.sha256)
        total.add(image)
        tell("images", done, len(images))
    found = await target.list_images()
    if found != images:
        raise CopyDiffers(f"images: the source holds {len(images)}, the target {len(found)}, or their times differ")
    for image in found:
        octets_hash = hashlib.sha256()
        for number in range(image.chunks):
            octets_hash.update(await target.read_image_chunk(image.sha256, number))
        if octets_hash.hexdigest() != image.sha256:
            raise CopyDiffers(f"image {image.name!r}: the target holds other octets")
    return len(images)


async def _copy_tasks(
    source: CopyStore, target: CopyStore, total: Checksum, tell: Tell
) -> tuple[dict[str, bytes], int, int]:
    """The checksum of each task by its id, how many were there already, and the number of devices."""
    expected = 0
    async for tasks in source.export_tasks():
        expected += sum(task.total for task in tasks)
    digests: dict[str, bytes] = {}
    skipped = done = 0
    async for tasks in source.export_tasks():
        for task in tasks:
            is_new = await target.begin_import(task)
            checksum, first = _task_checksum(task), 0
            async for devices in source.export_task_devices(task.task_id):
                if is_new:
                    await target.import_task_devices(task, first, devices)
                for device in devices:
                    checksum.add(device)
                first += len(devices)
                tell("devices of tasks", done + first, expected)
            if first != task.total:
                raise CopyDiffers(f"task {task.task_id}: its header says {task.total} devices, and there are {first}")
            if is_new:
                await target.seal_import(task)
            else:
                skipped += 1
            done += first
            digests[task.task_id] = checksum.digest()
            total.add(checksum.digest())
    return digests, skipped, done


async def _verify_tasks(target: CopyStore, digests: dict[str, bytes], devices: int, tell: Tell) -> None:
    found = done = 0
    async for tasks in target.export_tasks():
        for task in tasks:
            checksum = _task_checksum(task)
            async for records in target.export_task_devices(task.task_id):
                for record in records:
                    checksum.add(record)
                done += len(records)
                tell("devices verified", done, devices)
            if task.task_id not in digests:
                raise CopyDiffers(f"the target holds task {task.task_id}, which the source does not")
            if checksum.digest() != digests[task.task_id]:
                raise CopyDiffers(f"task {task.task_id}: the target holds another one, its checksum differs")
            found += 1
    if found != len(digests):
        raise CopyDiffers(f"tasks: the source holds {len(digests)}, the target {found}")


def _task_checksum(task: TaskRecord) -> Checksum:
    checksum = Checksum()
    checksum.add(task)
    return checksum


async def _once(read: Callable[[], Awaitable[list[T]]]) -> AsyncIterator[list[T]]:
    yield await read()


_encode = msgspec.json.Encoder(order="deterministic").encode
