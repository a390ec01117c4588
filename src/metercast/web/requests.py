"""Reading a request: the body, the query, the ids in the path. Whatever is wrong ends in a Problem."""

from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from litestar import Response

from metercast.domain.problem import InvalidField, NotFound
from metercast.engine.decoding import Shows, decode, invalid, shows_all_but_secrets
from metercast.web.calls import JSON
from metercast.web.context import HttpRequest
from metercast.web.problems import UnsupportedMediaType

T = TypeVar("T", bound=msgspec.Struct)

MAX_PARAMETERS = 50


class Empty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing."""


def media_type(request: HttpRequest) -> str:
    """The content's media type in lower case, without parameters; empty where none is given."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(
    request: HttpRequest, type_: type[T], shows: Shows = shows_all_but_secrets, *, or_else: Iterable[str] = ()
) -> T:
    """The body as `type_`. Raises UnsupportedMediaType, which names `or_else` too, Malformed or InvalidField."""
    sent = media_type(request)
    if sent not in ("", JSON):
        raise UnsupportedMediaType(f"this call takes {', '.join([JSON, *or_else])}, not {sent[:100]}")
    return decode(await request.body(), type_, shows)


async def read_nothing(request: HttpRequest) -> None:
    """For calls that take no body: none, or {}."""
    body = await request.body()
    if body.strip():
        decode(body, Empty)


def read_query(request: HttpRequest, type_: type[T]) -> T:
    """The query parameters as `type_`. InvalidField for one that is unknown, given twice or does not validate."""
    raw: dict[str, str] = {}
    query: bytes = request.scope["query_string"]
    try:
        pairs = parse_qsl(query.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        text = query.decode("utf-8", "replace")
        raise InvalidField("query", text, f"not UTF-8, or more than {MAX_PARAMETERS} parameters") from None
    for name, value in pairs:
        if name in raw:
            raise InvalidField(name[:100], value, "given twice")
        raw[name] = value
    try:
        return msgspec.convert(raw, type_, strict=False)
    except msgspec.ValidationError as error:
        # Whatever stands in a query is a text: that one was sent is not what is wrong.
        raise invalid(msgspec.ValidationError(str(error).replace(", got `str`", "")), raw, type_) from None


def path_id(request: HttpRequest, name: str) -> str:
    """The id of that name in the path. The path is routed as it was sent, so an id may hold any character."""
    try:
        return unquote_to_bytes(request.path_params[name].encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise NotFound(f"the id in the path is not UTF-8: {request.path_params[name][:100]}") from None


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    """JSON."""
    return Response(_encode(value), status_code=status, media_type=JSON, headers=headers)


_encode = msgspec.json.Encoder().encode
