"""What a call is, beside its handler: who may make it, what it takes and what it answers."""

from typing import Any, TypedDict

import msgspec

from metercast.store.keys import Role

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
OCTETS = "application/octet-stream"
PROBLEM = "application/problem+json"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Kept as the handler's `opt["call"]`: the guard reads `role`, the reference is drawn from the rest.

    `query` is the msgspec type of the query parameters (None: it takes none). `body` is what a JSON body is read as;
    `bodies` are examples by media type for what is no JSON. `returns` is the answer by status: a msgspec type, None
    for no content, or a media type for text. `errors` are the statuses of problems that a caller must expect.
    """

    group: str
    summary: str
    role: Role | None
    description: str = ""
    query: type[msgspec.Struct] | None = None
    body: Any = None
    bodies: dict[str, str] = {}
    body_example: Any = None
    idempotent: bool = False
    returns: dict[int, Any]
    example: Any = None
    errors: tuple[int, ...] = ()


class _Options(TypedDict):
    opt: dict[str, Any]


def documented(call: Call) -> _Options:
    """The keyword arguments of a route decorator."""
    return {"opt": {"call": call}}
