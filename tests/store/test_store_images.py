"""Firmware images, each once and in pieces, and what each meter was last sent of one."""

import asyncio
import hashlib
import random

import pytest
from tests.store.fleet import at, meter
from tests.store.harness import StoreHarness

from metercast.domain.problem import Conflict, NotFound
from metercast.store.images import IMAGE_CHUNK, STALE_UPLOAD_SECONDS, Image, Transfer

OCTETS = random.Random(4).randbytes(IMAGE_CHUNK + 1000)


def sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def pieces(octets: bytes) -> list[bytes]:
    return [octets[start : start + IMAGE_CHUNK] for start in range(0, len(octets), IMAGE_CHUNK)]


async def put(harness: StoreHarness, name: str, octets: bytes, *, seal: bool = True) -> str:
    digest = sha256(octets)
    assert await harness.store.begin_image(name, digest, len(octets)) is None
    for number, piece in enumerate(pieces(octets)):
        await harness.store.put_image_chunk(digest, number, piece)
    if seal:
        await harness.store.seal_image(digest)
    return digest


async def octets_of(harness: StoreHarness, image: Image) -> bytes:
    return b"".join([await harness.store.read_image_chunk(image.sha256, number) for number in range(image.chunks)])


async def test_an_image_is_there_once_it_is_sealed(harness: StoreHarness) -> None:
    digest = await put(harness, "a-1.2", OCTETS, seal=False)
    assert await harness.store.list_images() == []
    assert await harness.store.find_image(digest) is None
    with pytest.raises(NotFound):
        await harness.store.read_image_chunk(digest, 0)
    sealed = await harness.store.seal_image(digest)
    assert sealed == Image("a-1.2", digest, len(OCTETS), at(0))
    await harness.reopen()
    assert await harness.store.list_images() == [sealed]
    assert await harness.store.find_image(digest) == sealed
    assert await octets_of(harness, sealed) == OCTETS
    with pytest.raises(NotFound):
        await harness.store.read_image_chunk(digest, 2)


async def test_every_step_of_an_upload_may_be_repeated(harness: StoreHarness) -> None:
    digest = sha256(OCTETS)
    for _ in range(2):
        assert await harness.store.begin_image("a", digest, len(OCTETS)) is None
    for number, piece in enumerate(pieces(OCTETS)):
        for _ in range(2):
            await harness.store.put_image_chunk(digest, number, piece)
    first = await harness.store.seal_image(digest)
    assert await harness.store.seal_image(digest) == first
    assert await harness.store.begin_image("a", digest, len(OCTETS)) == first
    assert await octets_of(harness, first) == OCTETS


async def test_an_upload_that_was_cut_begins_anew(harness: StoreHarness) -> None:
    digest = sha256(OCTETS)
    await harness.store.begin_image("old-name", digest, len(OCTETS))
    await harness.store.put_image_chunk(digest, 1, b"what was cut")
    await put(harness, "a", OCTETS)
    assert [each.name for each in await harness.store.list_images()] == ["a"]


async def test_an_image_that_is_not_whole_is_not_sealed(harness: StoreHarness) -> None:
    digest = sha256(OCTETS)
    await harness.store.begin_image("a", digest, len(OCTETS))
    await harness.store.put_image_chunk(digest, 0, pieces(OCTETS)[0])
    with pytest.raises(ValueError, match=f"{IMAGE_CHUNK} of {len(OCTETS)} octets"):
        await harness.store.seal_image(digest)
    assert await harness.store.list_images() == []


async def test_what_was_not_begun_takes_no_piece(harness: StoreHarness) -> None:
    with pytest.raises(NotFound):
        await harness.store.put_image_chunk("00" * 32, 0, b"octets")
    with pytest.raises(NotFound):
        await harness.store.seal_image("00" * 32)
    digest = await put(harness, "a", b"octets")
    with pytest.raises(NotFound):
        await harness.store.put_image_chunk(digest, 0, b"others")


async def test_a_name_is_never_given_to_other_octets(harness: StoreHarness) -> None:
    digest = await put(harness, "a", b"octets")
    with pytest.raises(Conflict, match="another image 'a'"):
        await harness.store.begin_image("a", sha256(b"others"), 6)
    with pytest.raises(Conflict, match="as image 'a'"):
        await harness.store.begin_image("b", digest, 6)
    # Two begin under one name: the first to be sealed has it.
    first, second = await put(harness, "c", b"one", seal=False), await put(harness, "c", b"two", seal=False)
    await harness.store.seal_image(second)
    with pytest.raises(Conflict):
        await harness.store.seal_image(first)
    assert [each.name for each in await harness.store.list_images()] == ["a", "c"]


async def test_an_image_is_deleted_with_its_pieces(harness: StoreHarness) -> None:
    digest = await put(harness, "a", OCTETS)
    kept = await put(harness, "b", b"octets")
    await harness.store.delete_image(digest)
    with pytest.raises(NotFound):
        await harness.store.delete_image(digest)
    with pytest.raises(NotFound):
        await harness.store.read_image_chunk(digest, 0)
    assert [each.sha256 for each in await harness.store.list_images()] == [kept]
    await put(harness, "a", b"others")


async def test_what_an_upload_left_is_swept_by_a_later_one(harness: StoreHarness) -> None:
    digest = await put(harness, "a", OCTETS, seal=False)
    harness.clock.advance(STALE_UPLOAD_SECONDS + 1)
    await put(harness, "b", b"octets")
    with pytest.raises(NotFound):
        await harness.store.seal_image(digest)


async def test_many_upload_at_a_time(harness: StoreHarness) -> None:
    octets = [bytes([number]) * 1000 for number in range(8)]
    digests = await asyncio.gather(*(put(harness, f"image-{each[0]}", each) for each in octets))
    assert [each.sha256 for each in await harness.store.list_images()] == digests
    for image, each in zip(await harness.store.list_images(), octets, strict=True):
        assert await octets_of(harness, image) == each


async def test_a_transfer_is_noted_in_place_of_the_last(harness: StoreHarness) -> None:
    first, second = Transfer("m☃", "aa", 0, 10), Transfer("n", "aa", 3, 10)
    await harness.store.note_transfers([])
    await harness.store.note_transfers([first, second])
    later = Transfer("m☃", "bb", 7, 20)
    await harness.store.note_transfers([later])
    await harness.reopen()
    assert await harness.store.find_transfer("m☃") == later
    assert await harness.store.find_transfer("n") == second
    assert await harness.store.find_transfer("x") is None
    assert [each async for part in harness.store.export_transfers() for each in part] == [later, second]


async def test_another_meter_under_the_id_of_a_deleted_one_has_no_transfer(harness: StoreHarness) -> None:
    await harness.store.put_devices([meter("m")])
    await harness.store.note_transfers([Transfer("m", "aa", 3, 10)])
    await harness.store.delete_device("m")
    assert await harness.store.find_transfer("m") is None
