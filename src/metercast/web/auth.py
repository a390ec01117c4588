"""Who may call: bearer API keys with roles. On a loopback address a call without a key is the local admin's."""

from urllib.parse import urlsplit

from litestar.handlers import BaseRouteHandler

from metercast.domain.problem import Forbidden
from metercast.engine.apikeys import LOCAL, Caller
from metercast.web.calls import Call
from metercast.web.context import Connection, Context, context_of
from metercast.web.problems import Unauthorized

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


async def require_role(connection: Connection, handler: BaseRouteHandler) -> None:
    """A guard. Raises Unauthorized for who is unknown, Forbidden for who may not."""
    call: Call = handler.opt["call"]
    if call.role is None:
        return
    caller = await _caller(connection)
    if not caller.role.includes(call.role):
        raise Forbidden(f"this call needs the role {call.role.value}; the key {caller.name!r} is {caller.role.value}")
    connection.state.caller = caller


async def _caller(connection: Connection) -> Caller:
    context = context_of(connection)
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("send the API key as Authorization: Bearer <key>")
        caller = await context.service.keys.authenticate(token.strip())
        if caller is None:
            raise Unauthorized("the API key is unknown or revoked")
        return caller
    if context.config.needs_keys:
        raise Unauthorized("send an API key as Authorization: Bearer <key>")
    _check_local(connection, context)
    return LOCAL


def _check_local(connection: Connection, context: Context) -> None:
    """A call without a key must come from this machine by its own will: not through a proxy, not from a page in a
    browser, whose requests carry its own Origin, or a name of its own that was pointed at loopback."""
    if any(name in connection.headers for name in _PROXY_HEADERS):
        raise Unauthorized("this call came through a proxy: send an API key, and set METERCAST_BEHIND_PROXY")
    names = _LOCAL_NAMES | {context.config.host}
    host = _name(f"//{connection.headers.get('host', '')}")
    if host not in names:
        raise Forbidden(f"without an API key the Host must be local, not {host!r}")
    origin = connection.headers.get("origin")
    if origin is not None and origin != f"{context.config.scheme}://{connection.headers.get('host', '')}":
        raise Forbidden("without an API key no other site's page may call")


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "")[:100]
    except ValueError:
        return ""
