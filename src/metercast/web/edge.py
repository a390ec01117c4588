"""The outermost layer: routes on the path as it was sent, sets the headers that every answer has, counts, and cuts
the connection where an answer broke off."""

import re
import time
from typing import Any

import structlog
from litestar import Litestar

from metercast.web.metrics import Metrics

log = structlog.get_logger()

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
]
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
_NOT_ASCII = re.compile(r"[^\x21-\x7e]")


class Edge:
    """An ASGI app around `app`."""

    def __init__(self, app: Litestar, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status = 0
        ended = False
        started_at = time.perf_counter()

        async def answer(message: Any) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        routed: Any = {**scope, "path": routed_path(scope)}
        try:
            await self.app(routed, receive, answer)
        except Exception as error:
            # The head is gone with status 200: only a cut connection tells that the rest is missing.
            log.error("http.answer_broke_off", path=routed["path"][:200], exc_info=error)
        route = routed.get("path_template") or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.observe(method, route, status if ended else 499, time.perf_counter() - started_at)


def routed_path(scope: Any) -> str:
    """The path still percent-encoded, so that a slash within an id is no separator.

    `/devices/import` is a call for POST only; for any other method it is the device of that name.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
    path = _NOT_ASCII.sub(lambda found: f"%{ord(found[0]):02X}", raw.decode("latin-1"))
    if "//" in path:
        return "/%2F"  # an empty id is no id, and no route has this name
    if path == "/devices/import" and scope["method"] != "POST":
        return "/devices/impor%74"
    return path
