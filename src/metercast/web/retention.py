"""Retention: what has ended long ago, and deleting it now."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import Response, get, post

from metercast.store.keys import Role
from metercast.web.calls import Call, documented
from metercast.web.context import HttpRequest, caller_of, context_of, service_of
from metercast.web.requests import answer, read_json, read_query

MAX_BODY = 1 << 16

Days = Annotated[int, msgspec.Meta(ge=0, le=36500, description="Days since a task ended")]


class RetentionQuery(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    older_than_days: Days | msgspec.UnsetType = msgspec.UNSET


class DeletionRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    older_than_days: Days


class RetentionStatus(msgspec.Struct, frozen=True, rename="camel"):
    """`retentionDays` is the server's policy, null where nothing is deleted by itself. `tasks` ended before
    `endedBefore`, which is that of the policy where none was asked for; both are null where there is neither."""

    retention_days: int | None
    ended_before: datetime | None
    tasks: int | None


class Deleted(msgspec.Struct, frozen=True, rename="camel"):
    """`tasks` are gone for every call. `more`: call again, there are others."""

    ended_before: datetime
    tasks: int
    more: bool


@get(
    "/retention",
    **documented(
        Call(
            group="Operations",
            summary="What is kept, and for how long",
            role=Role.VIEWER,
            query=RetentionQuery,
            returns={200: RetentionStatus},
            errors=(422,),
        )
    ),
)
async def read_retention(request: HttpRequest) -> Response[bytes]:
    asked = read_query(request, RetentionQuery)
    policy = context_of(request).config.retention_days
    days = policy if isinstance(asked.older_than_days, msgspec.UnsetType) else asked.older_than_days
    if days is None:
        return answer(RetentionStatus(policy, None, None))
    before = _before(days)
    return answer(RetentionStatus(policy, before, await service_of(request).count_ended(before)))


@post(
    "/retention/delete",
    status_code=200,
    request_max_body_size=MAX_BODY,
    **documented(
        Call(
            group="Operations",
            summary="Delete what ended long ago, now",
            description="Tasks that are over and were last changed so long ago are gone for every call, at most a "
            "thousand at a time; what is kept of their devices is deleted little by little, within minutes.",
            role=Role.ADMIN,
            body=DeletionRequest,
            body_example={"olderThanDays": 400},
            returns={200: Deleted},
            errors=(400, 413, 415, 422),
        )
    ),
)
async def delete_ended(request: HttpRequest) -> Response[bytes]:
    asked = await read_json(request, DeletionRequest)
    before = _before(asked.older_than_days)
    tasks, more = await service_of(request).delete_ended(before, caller_of(request))
    return answer(Deleted(before, tasks, more))


def _before(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


ROUTES = [read_retention, delete_ended]
