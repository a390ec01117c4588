"""Problems as application/problem+json (RFC 9457): one shape for whatever goes wrong."""

from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from metercast.domain.problem import InvalidField, Problem
from metercast.engine.line_report import InvalidLines, problem_reason
from metercast.web.calls import PROBLEM

log = structlog.get_logger()


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """`received` is cut to 100 characters, and left out where there is none or it could be a secret. `line` stands in
    a report of lines only."""

    path: str
    reason: str
    received: str | msgspec.UnsetType = msgspec.UNSET
    line: int | msgspec.UnsetType = msgspec.UNSET


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`type` names the kind of problem for programs, `detail` says for people what is wrong with this request."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET
    error_count: int | msgspec.UnsetType = msgspec.UNSET


class Unauthorized(Problem):
    status = 401
    title = "Unauthorized"


class UnsupportedMediaType(Problem):
    status = 415
    title = "Unsupported media type"


class RequestTimeout(Problem):
    """The body did not come in time."""

    status = 408
    title = "Request timeout"


class ContentTooLarge(Problem):
    status = 413
    title = "Content too large"


class Gone(Problem):
    """The one who asked went away in the middle of the body; nobody reads the answer."""


_HEADERS: dict[int, dict[str, str]] = {401: {"WWW-Authenticate": 'Bearer realm="metercast"'}, 503: {"Retry-After": "1"}}
_GONE = "client disconnected prematurely"  # the framework's words for a body that broke off
_TITLES = {400: "Bad request", 404: "Not found", 405: "Method not allowed", 413: "Content too large"}


def respond(document: ProblemDocument, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        msgspec.json.encode(document),
        status_code=document.status,
        media_type=PROBLEM,
        headers=_HEADERS.get(document.status, {}) | (headers or {}),
    )


def document_of(problem: Problem) -> ProblemDocument:
    return ProblemDocument(
        f"urn:metercast:problem:{problem.title.lower().replace(' ', '-')}",
        problem.title,
        problem.status,
        problem.detail,
        _errors(problem),
        problem.count if isinstance(problem, InvalidLines) else msgspec.UNSET,
    )


def _errors(problem: Problem) -> list[FieldError] | msgspec.UnsetType:
    if isinstance(problem, InvalidLines):
        return [FieldError(each.path, each.reason, _given(each.received), each.line) for each in problem.errors]
    if isinstance(problem, InvalidField):
        return [FieldError(problem.path, problem_reason(problem), _given(problem.received))]
    return msgspec.UNSET


def _given(received: str | None) -> str | msgspec.UnsetType:
    return msgspec.UNSET if received is None else received


def on_problem(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    return respond(document_of(problem))


def on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses by itself: no such route, wrong method, too large."""
    status = error.status_code
    title = _TITLES.get(status, "Bad request" if status < 500 else "Internal error")
    path = request.scope["path"][:100]
    if status == 404:
        detail = f"there is no {path}"
    elif status == 405:
        detail = f"{request.method} is not allowed on {path}"
    elif status == 413:
        limit = request.route_handler.resolve_request_max_body_size()
        detail = f"the body is larger than {limit} octets"
    elif error.detail == _GONE:
        status, title, detail = 400, _TITLES[400], _GONE  # nobody reads it
    elif status < 500:
        detail = error.detail[:200] or title
    else:
        return on_error(request, error)
    document = ProblemDocument(f"urn:metercast:problem:{title.lower().replace(' ', '-')}", title, status, detail)
    return respond(document, dict(error.headers or {}))


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: told in the log, not to the caller."""
    log.error("http.internal_error", method=request.method, path=request.scope["path"][:200], exc_info=error)
    title = "Internal error"
    detail = "the server failed at this request; its log says why"
    return respond(ProblemDocument("urn:metercast:problem:internal-error", title, 500, detail))


HANDLERS: ExceptionHandlersMap = {
    Problem: on_problem,
    HTTPException: on_http,
    Exception: on_error,
}
