"""What is wrong with a request, in words for the one who sent it. The web layer turns each into problem+json."""

from typing import Any, Self

SHOWN = 100


def shown(value: Any) -> str:
    """The value received, as text of at most 100 characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


class Problem(Exception):
    """Nothing was changed. `status` is the HTTP status that says the same."""

    status = 400
    title = "Bad request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidField(Problem):
    """A field of the request does not validate: `path` names it, `received` is what came."""

    status = 422
    title = "Invalid field"

    def __init__(self, path: str, received: Any, reason: str) -> None:
        self.path = path
        self.received: str | None = shown(received)
        super().__init__(f"{path}: {reason}; received {self.received}")

    @classmethod
    def secret(cls, path: str, reason: str) -> Self:
        """For a field whose value must not be repeated."""
        problem = cls(path, None, reason)
        problem.received = None
        problem.detail = f"{path}: {reason}"
        problem.args = (problem.detail,)
        return problem


class Forbidden(Problem):
    """Who asks may not ask for this."""

    status = 403
    title = "Forbidden"


class NotFound(Problem):
    status = 404
    title = "Not found"


class Conflict(Problem):
    """The request is well-formed and its time is wrong: an illegal action for the state, a key used twice."""

    status = 409
    title = "Conflict"


class Unavailable(Problem):
    """The store can't do it now (locked, disk full, shutting down); nothing was lost, try again."""

    status = 503
    title = "Unavailable"
