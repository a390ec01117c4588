"""Firmware images for sessions: each is in memory once, whatever number of meters it goes to."""

import asyncio
import hashlib
from collections import OrderedDict

from metercast.commands.contract import StepFailed
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.problem import NotFound, Problem
from metercast.domain.words import ErrorWord
from metercast.driver.contract import GiveBack
from metercast.store.images import Image, ImageStore, Transfer

CAPACITY = 64 << 20
SHA256 = "sha256:"


class ImageShelf:
    """The least recently used images leave above `capacity` octets together; the newest stays, whatever its size."""

    def __init__(self, store: ImageStore, *, capacity: int = CAPACITY) -> None:
        self._store = store
        self._capacity = capacity
        self._images: OrderedDict[str, bytes] = OrderedDict()
        self._loading: dict[str, asyncio.Lock] = {}

    async def get(self, reference: str) -> FirmwareImage:
        """By its name, or by `sha256:` and the hash. Raises StepFailed, and GiveBack where the store is away."""
        try:
            found = await self._find(reference)
            if found is None:
                raise StepFailed(ErrorWord.IMAGE_MISSING, f"there is no image {reference!r}")
            return FirmwareImage(found.name, found.sha256, await self._octets(found))
        except NotFound as problem:  # deleted while it was read
            raise StepFailed(ErrorWord.IMAGE_MISSING, problem.detail) from problem
        except Problem as problem:
            raise GiveBack(f"the image could not be read: {problem.detail}") from problem

    async def transferred(self, device_id: str) -> Transferred | None:
        """What was noted last. Raises GiveBack where the store is away."""
        try:
            found = await self._store.find_transfer(device_id)
        except Problem as problem:
            raise GiveBack(f"what the meter was sent could not be read: {problem.detail}") from problem
        return None if found is None else Transferred(found.sha256, found.blocks, found.total)

    async def note(self, device_id: str, transferred: Transferred) -> None:
        """Durable when it returns. Raises GiveBack where the store is away."""
        try:
            await self._store.note_transfers([Transfer(device_id, *transferred)])
        except Problem as problem:
            raise GiveBack(f"what the meter is sent could not be noted: {problem.detail}") from problem

    async def _find(self, reference: str) -> Image | None:
        if reference.startswith(SHA256):
            return await self._store.find_image(reference.removeprefix(SHA256).lower())
        return next((each for each in await self._store.list_images() if each.name == reference), None)

    async def _octets(self, image: Image) -> bytes:
        """Read once, also where many sessions ask at a time."""
        async with self._loading.setdefault(image.sha256, asyncio.Lock()):
            octets = self._images.get(image.sha256)
            if octets is None:
                octets = await self._read(image)
                self._images[image.sha256] = octets
                while len(self._images) > 1 and sum(map(len, self._images.values())) > self._capacity:
                    gone, _ = self._images.popitem(last=False)
                    self._loading.pop(gone, None)
            self._images.move_to_end(image.sha256)
        return octets

    async def _read(self, image: Image) -> bytes:
        pieces = [await self._store.read_image_chunk(image.sha256, number) for number in range(image.chunks)]
        octets = b"".join(pieces)
        if hashlib.sha256(octets).hexdigest() != image.sha256:
            raise StepFailed(ErrorWord.IMAGE_MISSING, f"what is stored of image {image.name!r} is damaged")
        return octets
