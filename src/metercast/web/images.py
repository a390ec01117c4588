"""Firmware images: put, look up, delete."""

import re
from typing import Annotated

import msgspec
from litestar import Response, delete, get, put

from metercast.engine.images import check_name
from metercast.store.images import Image
from metercast.store.keys import Role
from metercast.web import examples
from metercast.web.calls import OCTETS, Call, documented
from metercast.web.context import HttpRequest, caller_of, context_of, service_of
from metercast.web.problems import UnsupportedMediaType
from metercast.web.requests import answer, media_type, path_id, read_query
from metercast.web.uploads import upload

_ANY = 1 << 40  # `upload` bounds the body by the setting


class ImageQuery(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    sha256: (
        Annotated[str, msgspec.Meta(pattern="^[0-9A-Fa-f]{64}$", description="What the octets must hash to, in hex")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class ImageList(msgspec.Struct, frozen=True, rename="camel"):
    """In order of name."""

    images: list[Image]


@put(
    "/images/{name:str}",
    request_max_body_size=_ANY,
    **documented(
        Call(
            group="Images",
            summary="Upload a firmware image",
            description="The body is the image as its maker gave it, at most METERCAST_IMAGE_LIMIT octets. It is "
            "stored once, whatever number of meters it is for, and known by its SHA-256. A name is never given to "
            "other octets while its image is there (409); the same octets under the same name once more change "
            "nothing (200).",
            role=Role.OPERATOR,
            query=ImageQuery,
            bodies={OCTETS: examples.IMAGE_BODY},
            returns={200: Image, 201: Image},
            example=examples.IMAGE,
            errors=(408, 409, 413, 415, 422),
        )
    ),
)
async def put_image(request: HttpRequest) -> Response[bytes]:
    name, asked = path_id(request, "name"), read_query(request, ImageQuery)
    check_name(name)
    sent = media_type(request)
    if sent not in ("", OCTETS):
        raise UnsupportedMediaType(f"this call takes {OCTETS}, not {re.sub('[^ -~]', '?', sent[:100])}")
    context = context_of(request)
    sha256 = None if isinstance(asked.sha256, msgspec.UnsetType) else asked.sha256
    with context.spools.image() as spool:
        await spool.fill(upload(request, context.config.image_limit, "METERCAST_IMAGE_LIMIT"))
        image, created = await service_of(request).images.put(name, spool, sha256, caller_of(request))
    return answer(image, 201 if created else 200)


@get(
    "/images",
    **documented(Call(group="Images", summary="List the images", role=Role.VIEWER, returns={200: ImageList})),
)
async def list_images(request: HttpRequest) -> Response[bytes]:
    return answer(ImageList(await service_of(request).images.all()))


@get(
    "/images/{name:str}",
    **documented(
        Call(
            group="Images",
            summary="Read what is known of an image",
            role=Role.VIEWER,
            returns={200: Image},
            example=examples.IMAGE,
            errors=(404,),
        )
    ),
)
async def read_image(request: HttpRequest) -> Response[bytes]:
    return answer(await service_of(request).images.get(path_id(request, "name")))


@delete(
    "/images/{name:str}",
    status_code=204,
    **documented(
        Call(
            group="Images",
            summary="Delete an image",
            description="Refused while a task that is not over names it.",
            role=Role.OPERATOR,
            returns={204: None},
            errors=(404, 409),
        )
    ),
)
async def delete_image(request: HttpRequest) -> None:
    await service_of(request).images.delete(path_id(request, "name"), caller_of(request))


ROUTES = [put_image, list_images, read_image, delete_image]
