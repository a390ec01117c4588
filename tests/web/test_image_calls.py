"""Firmware images over the API: put once, listed, deleted where nobody needs them."""

import asyncio
import hashlib
import random
from dataclasses import replace

import pytest
from tests.web.conftest import Api, open_api

from metercast.config import Config
from metercast.store.images import IMAGE_CHUNK
from metercast.store.keys import Role

OCTETS = random.Random(2).randbytes(IMAGE_CHUNK + 5)
SHA256 = hashlib.sha256(OCTETS).hexdigest()


async def test_an_image_is_put_once_and_found(api: Api) -> None:
    put = await api.client.put("/images/ACME-2.1.bin", content=OCTETS)
    assert put.status_code == 201, put.text
    image = put.json()
    assert (image["name"], image["size"], image["sha256"]) == ("ACME-2.1.bin", len(OCTETS), SHA256)
    again = await api.client.put("/images/ACME-2.1.bin", content=OCTETS)
    assert (again.status_code, again.json()) == (200, image)
    assert (await api.client.get("/images/ACME-2.1.bin")).json() == image
    assert (await api.client.get("/images")).json() == {"images": [image]}
    stored = [await api.parts.store.read_image_chunk(SHA256, number) for number in range(2)]
    assert b"".join(stored) == OCTETS


async def test_a_name_is_never_given_to_other_octets(api: Api) -> None:
    await api.client.put("/images/a", content=b"one")
    for path, octets in (("/images/a", b"two"), ("/images/b", b"one")):
        refused = await api.client.put(path, content=octets)
        assert refused.status_code == 409, refused.text
    assert [each["name"] for each in (await api.client.get("/images")).json()["images"]] == ["a"]


async def test_what_came_must_have_the_hash_that_was_said(api: Api) -> None:
    for sha256, status in (("0" * 64, 422), ("x", 422), (SHA256.upper(), 201)):
        put = await api.client.put(f"/images/a?sha256={sha256}", content=OCTETS)
        assert put.status_code == status, put.text
        assert len((await api.client.get("/images")).json()["images"]) == (status == 201)


@pytest.mark.parametrize("name", ["%20a", "a%2Fb", ".a", "a" * 129, "%C3%A4"])
async def test_odd_names_are_refused(api: Api, name: str) -> None:
    put = await api.client.put(f"/images/{name}", content=b"octets")
    assert put.status_code == 422, put.text
    assert put.json()["errors"][0]["path"] == "name"


async def test_an_empty_image_and_other_media_are_refused(api: Api) -> None:
    assert (await api.client.put("/images/a", content=b"")).status_code == 422
    for media_type in ("text/csv", "application/json"):
        put = await api.client.put("/images/a", content=b"x", headers={"Content-Type": media_type})
        assert put.status_code == 415
    octets = {"Content-Type": "application/octet-stream"}
    assert (await api.client.put("/images/a", content=b"x", headers=octets)).status_code == 201


async def test_the_size_is_limited_with_and_without_a_length(config: Config) -> None:
    async with open_api(replace(config, image_limit=1024), start=False) as api:

        async def streamed() -> object:
            for _ in range(3):
                yield bytes(400)

        for content in (bytes(1025), streamed()):
            put = await api.client.put("/images/a", content=content)  # type: ignore[arg-type]
            assert put.status_code == 413, put.text
            assert "METERCAST_IMAGE_LIMIT" in put.json()["detail"]
        assert (await api.client.put("/images/a", content=bytes(1024))).status_code == 201
        assert list((api.data_dir / "spool").glob("*")) == []


async def test_what_is_not_there_is_not_found(api: Api) -> None:
    for method in ("GET", "DELETE"):
        assert (await api.client.request(method, "/images/a")).status_code == 404


async def test_deleted_images_are_gone(api: Api) -> None:
    await api.client.put("/images/a", content=b"one")
    assert (await api.client.delete("/images/a")).status_code == 204
    assert (await api.client.get("/images")).json() == {"images": []}
    assert (await api.client.put("/images/a", content=b"two")).status_code == 201


async def test_many_may_come_at_a_time_and_more_are_told_to_wait(api: Api) -> None:
    puts = [api.client.put(f"/images/image-{number}", content=bytes([number]) * 5000) for number in range(8)]
    statuses = {put.status_code for put in await asyncio.gather(*puts)}
    assert statuses <= {201, 503}
    assert 201 in statuses


async def test_a_viewer_reads_and_an_operator_writes(config: Config) -> None:
    async with open_api(replace(config, behind_proxy=True), start=False) as api:
        admin = {"Authorization": f"Bearer {(config.data_dir / 'admin.key').read_text().strip()}"}
        headers = {}
        for role in (Role.VIEWER, Role.OPERATOR):
            made = await api.client.post("/keys", json={"name": role.value, "role": role.value}, headers=admin)
            headers[role] = {"Authorization": f"Bearer {made.json()['key']}"}
        viewer, operator = headers[Role.VIEWER], headers[Role.OPERATOR]
        assert (await api.client.put("/images/a", content=b"one", headers=viewer)).status_code == 403
        assert (await api.client.put("/images/a", content=b"one", headers=operator)).status_code == 201
        assert (await api.client.get("/images", headers=viewer)).status_code == 200
        assert (await api.client.delete("/images/a", headers=viewer)).status_code == 403
        assert (await api.client.delete("/images/a", headers=operator)).status_code == 204
