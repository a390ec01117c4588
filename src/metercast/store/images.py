"""The store's contract for firmware images, and for what each meter was last sent of one.

An image is kept once, in pieces, under the SHA-256 of its octets; its name is for people and is never given to other
octets while it is there. It is seen only once it is sealed: what an upload that did not end has left is swept when
another upload begins.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from metercast.domain.problem import Conflict

IMAGE_CHUNK = 256 * 1024
"""Octets of a piece; only the last one is shorter. No store's limit of a row or a document is near."""

STALE_UPLOAD_SECONDS = 3600.0
"""After so long an upload that was not sealed is taken for one that never will be."""


class Image(msgspec.Struct, frozen=True, rename="camel"):
    """A sealed image without its octets. `sha256` is in lower-case hex; `size` is in octets."""

    name: str
    sha256: str
    size: int
    created_at: datetime

    @property
    def chunks(self) -> int:
        """How many pieces it has."""
        return chunks_of(self.size)


class Transfer(msgspec.Struct, frozen=True, rename="camel"):
    """Which image a meter was last told to take, and how many of its blocks are known to have arrived."""

    device_id: str
    sha256: str
    blocks: int
    total: int


class ImageStore(Protocol):
    async def begin_image(self, name: str, sha256: str, size: int, created_at: datetime | None = None) -> Image | None:
        """Begins an upload, anew where it was begun before. The image where it is there already, sealed.

        `created_at` is now, except in a copy. Raises domain.problem.Conflict where the name is another image's, or the
        octets are there under another name.
        """
        ...

    async def put_image_chunk(self, sha256: str, number: int, octets: bytes) -> None:
        """Piece `number`, from 0. Raises domain.problem.NotFound where no upload of it has begun."""
        ...

    async def seal_image(self, sha256: str) -> Image:
        """The image is there from now on. Sealing twice changes nothing. Raises NotFound, Conflict where the name was
        taken meanwhile, and ValueError where pieces are missing."""
        ...

    async def list_images(self) -> list[Image]:
        """Sealed ones, in order of name."""
        ...

    async def find_image(self, sha256: str) -> Image | None:
        """The sealed image with these octets."""
        ...

    async def read_image_chunk(self, sha256: str, number: int) -> bytes:
        """Raises domain.problem.NotFound."""
        ...

    async def delete_image(self, sha256: str) -> None:
        """With its pieces. Raises domain.problem.NotFound where no sealed image has these octets."""
        ...

    async def note_transfers(self, transfers: Sequence[Transfer]) -> None:
        """In place of what was noted of these meters before."""
        ...

    async def find_transfer(self, device_id: str) -> Transfer | None: ...

    def export_transfers(self) -> AsyncIterator[list[Transfer]]:
        """In order of device id."""
        ...


def chunks_of(size: int) -> int:
    """How many pieces an image of that size has."""
    return -(-size // IMAGE_CHUNK)


def check_same(found: Image, name: str, sha256: str) -> Image:
    """`found` where it is this image under this name. Raises Conflict."""
    if found.sha256 != sha256:
        raise Conflict(
            f"there is another image {name!r}, with SHA-256 {found.sha256}; delete it first, or take a new name"
        )
    if found.name != name:
        raise Conflict(f"the same octets are there already as image {found.name!r}")
    return found


def check_whole(sha256: str, size: int, chunks: int, octets: int) -> None:
    """ValueError where what was stored is not the whole image."""
    if (chunks, octets) != (chunks_of(size), size):
        raise ValueError(f"of image {sha256} there are {octets} of {size} octets in {chunks} pieces")
