"""API keys: create, list, revoke. For admins."""

import msgspec
from litestar import Response, delete, get, post

from metercast.engine.submission import Word
from metercast.store.keys import ApiKey, Role
from metercast.web import examples
from metercast.web.calls import Call, documented
from metercast.web.context import HttpRequest, caller_of, service_of
from metercast.web.requests import answer, path_id, read_json

MAX_BODY = 1 << 16


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A viewer reads, an operator also acts on tasks and meters, an engineer also with SET and ACTION on any object, an
    admin also on keys."""

    name: Word
    role: Role


class NewKey(ApiKey, frozen=True, rename="camel", kw_only=True):
    """`key` is shown this once."""

    key: str

    def __repr__(self) -> str:
        return f"NewKey({self.key_id!r})"


class KeyList(msgspec.Struct, frozen=True):
    """Oldest first."""

    keys: list[ApiKey]


@post(
    "/keys",
    request_max_body_size=MAX_BODY,
    **documented(
        Call(
            group="Keys",
            summary="Create an API key",
            description="The answer holds the key itself, this once: only its hash is stored.",
            role=Role.ADMIN,
            body=KeyRequest,
            body_example=examples.KEY,
            returns={201: NewKey},
            example=examples.NEW_KEY,
            errors=(400, 413, 415, 422),
        )
    ),
)
async def create_key(request: HttpRequest) -> Response[bytes]:
    asked = await read_json(request, KeyRequest)
    stored, new = await service_of(request).keys.create(asked.name, asked.role, caller_of(request))
    return answer(NewKey(**msgspec.structs.asdict(stored), key=new.token), 201)


@get(
    "/keys",
    **documented(Call(group="Keys", summary="List the API keys", role=Role.ADMIN, returns={200: KeyList})),
)
async def list_keys(request: HttpRequest) -> Response[bytes]:
    return answer(KeyList(await service_of(request).keys.all()))


@delete(
    "/keys/{key_id:str}",
    status_code=200,
    **documented(
        Call(
            group="Keys",
            summary="Revoke an API key",
            description="From the next request on. The last admin key can't be revoked.",
            role=Role.ADMIN,
            returns={200: ApiKey},
            errors=(404, 409),
        )
    ),
)
async def revoke_key(request: HttpRequest) -> Response[bytes]:
    return answer(await service_of(request).keys.revoke(path_id(request, "key_id"), caller_of(request)))


ROUTES = [create_key, list_keys, revoke_key]
