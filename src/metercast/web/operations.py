"""For who runs the server: does it live, is it ready, what does it count, what can it do."""

from typing import Any

import msgspec
from litestar import Response, get

from metercast.domain.problem import Unavailable
from metercast.store.keys import Role
from metercast.web.calls import JSON, Call, documented
from metercast.web.context import HttpRequest, context_of
from metercast.web.metrics import MEDIA_TYPE
from metercast.web.requests import answer

HTML = "text/html"


class Status(msgspec.Struct, frozen=True):
    status: str


@get(
    "/healthz",
    **documented(Call(group="Operations", summary="Does the process live?", role=None, returns={200: Status})),
)
async def healthz(request: HttpRequest) -> Response[bytes]:
    return answer(Status("ok"))


@get(
    "/readyz",
    **documented(
        Call(
            group="Operations",
            summary="Is it ready?",
            description="Whether the store answers, the engine runs and the process is not about to end.",
            role=None,
            returns={200: Status},
            errors=(503,),
        )
    ),
)
async def readyz(request: HttpRequest) -> Response[bytes]:
    reasons = await context_of(request).health.why_not_ready()
    if reasons:
        raise Unavailable(f"not ready: {'; '.join(reasons)}")
    return answer(Status("ready"))


@get(
    "/metrics",
    **documented(
        Call(group="Operations", summary="Metrics for Prometheus", role=Role.VIEWER, returns={200: MEDIA_TYPE})
    ),
)
async def metrics(request: HttpRequest) -> Response[bytes]:
    return Response(await context_of(request).metrics.render(), media_type=MEDIA_TYPE)


@get(
    "/schema",
    **documented(
        Call(
            group="Operations",
            summary="This reference",
            description="For a browser as a page, else as OpenAPI 3.1 in JSON.",
            role=None,
            returns={200: JSON},
        )
    ),
)
async def schema(request: HttpRequest) -> Response[Any]:
    if HTML in request.headers.get("accept", ""):
        return Response(request.app.state.reference, media_type=HTML)
    return Response(request.app.state.openapi, media_type=JSON)


@get(
    "/schema/openapi.json",
    **documented(Call(group="Operations", summary="OpenAPI 3.1", role=None, returns={200: JSON})),
)
async def openapi(request: HttpRequest) -> Response[bytes]:
    return Response(request.app.state.openapi, media_type=JSON)


ROUTES = [healthz, readyz, metrics, schema, openapi]
