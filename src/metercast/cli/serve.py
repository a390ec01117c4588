"""The command `serve`: its options are the table of settings."""

import os
from collections.abc import Callable
from typing import Any

import click

from metercast.cli.exits import USAGE, CommandFailed
from metercast.config import SETTINGS, Config, ConfigError


def _with_settings(function: Callable[..., int]) -> Callable[..., int]:
    for setting in reversed(SETTINGS):
        if setting.option is None:
            continue
        text = f"{setting.help}  [{setting.variable}; default: {setting.default}]".replace("`", "")
        kind: dict[str, Any] = {"is_flag": True, "flag_value": "true"} if setting.is_flag else {"metavar": "VALUE"}
        function = click.option(setting.option, setting.name, type=str, default=None, help=text, **kind)(function)
    return function


@click.command()
@_with_settings
def serve(**arguments: str | None) -> int:
    """Run the server.

    Listens until SIGTERM or SIGINT, then lets sessions with meters end within the grace time. The first start writes
    the admin's API key to admin.key in the data directory. Secrets are given as files or in the environment
    (METERCAST_MASTER_KEY), never on the command line.
    """
    try:
        config = Config.load(os.environ, arguments)
    except ConfigError as error:
        raise CommandFailed(str(error), USAGE) from None
    from metercast import app

    return app.run(config)
