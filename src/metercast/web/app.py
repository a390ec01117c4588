"""The HTTP API, put together."""

from collections.abc import Mapping

import msgspec
from litestar import Litestar
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from metercast.commands.contract import CommandType
from metercast.config import Config
from metercast.engine.service import Service
from metercast.engine.stats import EngineStats
from metercast.web import devices, images, keys, openapi, operations, reference, retention, tasks, traces
from metercast.web.auth import require_role
from metercast.web.context import Context, Health
from metercast.web.edge import Edge
from metercast.web.problems import HANDLERS

ROUTES: list[HTTPRouteHandler] = [
    *tasks.ROUTES,
    *devices.ROUTES,
    *images.ROUTES,
    *keys.ROUTES,
    *operations.ROUTES,
    *retention.ROUTES,
    *traces.ROUTES,
]


def create_app(
    service: Service, config: Config, health: Health, stats: EngineStats, commands: Mapping[str, CommandType]
) -> Edge:
    """The ASGI app. It starts and stops nothing: whoever made the service does."""
    context = Context(service, config, health, stats)
    document = openapi.build(ROUTES, commands)
    state = State(
        {
            "context": context,
            "openapi": msgspec.json.encode(document),
            "reference": reference.render(document),
        },
        deep_copy=False,
    )
    app = Litestar(
        route_handlers=ROUTES,
        guards=[require_role],
        exception_handlers=HANDLERS,
        openapi_config=None,
        request_max_body_size=config.body_limit,
        state=state,
        logging_config=None,
        debug=False,
    )
    return Edge(app, context.metrics)
