"""What the handlers of a call are given."""

from typing import Any, Protocol, cast

from litestar import Request
from litestar.connection import ASGIConnection

from metercast.config import Config
from metercast.engine.apikeys import Caller
from metercast.engine.service import Service
from metercast.engine.spool import Spools
from metercast.engine.stats import EngineStats
from metercast.web.metrics import Metrics

MAX_SPOOLS = 4  # tasks that are being received as lines at a time

HttpRequest = Request[Any, Any, Any]
Connection = ASGIConnection[Any, Any, Any, Any]


class Health(Protocol):
    async def why_not_ready(self) -> list[str]:
        """What keeps this process from its work; empty when it is ready."""
        ...


class Context:
    """One per app."""

    def __init__(self, service: Service, config: Config, health: Health, stats: EngineStats) -> None:
        self.service = service
        self.config = config
        self.health = health
        self.spools = Spools(config.data_dir / "spool", MAX_SPOOLS)
        self.metrics = Metrics(stats, service)


def context_of(connection: Connection) -> Context:
    return cast(Context, connection.app.state.context)


def service_of(connection: Connection) -> Service:
    return context_of(connection).service


def caller_of(request: HttpRequest) -> Caller:
    """Who calls, as the guard found; only for calls that need a role."""
    return cast(Caller, request.state.caller)
