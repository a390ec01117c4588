"""Traces: which sessions are written down."""

import msgspec
from litestar import Response, delete, get, post

from metercast.engine.traces import TraceRequest, TraceView
from metercast.store.keys import Role
from metercast.web.calls import Call, documented
from metercast.web.context import HttpRequest, caller_of, service_of
from metercast.web.requests import answer, path_id, read_json, read_nothing

MAX_BODY = 1 << 16


class TraceList(msgspec.Struct, frozen=True):
    traces: list[TraceView]


@post(
    "/traces",
    status_code=201,
    request_max_body_size=MAX_BODY,
    **documented(
        Call(
            group="Operations",
            summary="Trace the next sessions",
            description="Of some devices, or of a task. Each session is written to the server's trace directory as a "
            "log for people and as a pcap, without secrets. A server without METERCAST_TRACE_DIR refuses it (409). "
            "Traces end with their time, their number of sessions, or the process.",
            role=Role.OPERATOR,
            body=TraceRequest,
            body_example={"devices": ["meter-0001"], "minutes": 30, "maxSessions": 5},
            returns={201: TraceView},
            errors=(400, 409, 413, 415, 422),
        )
    ),
)
async def start_trace(request: HttpRequest) -> Response[bytes]:
    asked = await read_json(request, TraceRequest)
    return answer(service_of(request).traces.start(asked, caller_of(request)), 201)


@get(
    "/traces",
    **documented(
        Call(
            group="Operations",
            summary="Traces in force, and what they have written",
            role=Role.OPERATOR,
            returns={200: TraceList},
        )
    ),
)
async def list_traces(request: HttpRequest) -> Response[bytes]:
    return answer(TraceList(service_of(request).traces.all()))


@delete(
    "/traces/{trace_id:str}",
    status_code=200,
    **documented(
        Call(
            group="Operations",
            summary="End a trace",
            description="Sessions that are under way are written to their end.",
            role=Role.OPERATOR,
            returns={200: TraceView},
            errors=(404,),
        )
    ),
)
async def stop_trace(request: HttpRequest) -> Response[bytes]:
    await read_nothing(request)
    return answer(service_of(request).traces.stop(path_id(request, "trace_id"), caller_of(request)))


ROUTES = [start_trace, list_traces, stop_trace]
