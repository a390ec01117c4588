"""The command `demo`."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import TextIO

import click
from click.core import ParameterSource

from metercast.cli.connect import json_option
from metercast.cli.demo.plan import MAX_METERS, MIN_METERS, Json, Plan
from metercast.cli.exits import FAILED, OK, TERMINATED, USAGE, CommandFailed
from metercast.cli.output import write_line


@click.command()
@click.option(
    "--meters", type=click.IntRange(MIN_METERS, MAX_METERS), default=200, show_default=True, help="How many meters."
)
@click.option("--keep", is_flag=True, help="Keep the directory with the database, the logs and the meters' states.")
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Further fault rules, as for simulate. The demo does not expect them, so it must fail.",
)
@click.option(
    "--database-url",
    envvar="METERCAST_DEMO_DATABASE_URL",
    show_envvar=True,
    metavar="URL",
    help="An empty database in place of a file of its own; a URL with a password goes into the variable only.",
)
@json_option
def demo(*, meters: int, keep: bool, faults: Path | None, database_url: str | None, as_json: bool) -> int:
    """Run a whole fleet on this machine, end to end.

    Starts simulated meters and the server as processes of their own, registers the meters, submits SET_TOU, shows the
    progress, and compares what the meters then hold with what the server says. Ends by itself; the exit code is 0 only
    if everything came as planned. With --json the last line, the only one on standard output, is the final task
    without its devices.
    """
    plan = Plan(meters, _read_rules(faults) if faults is not None else ())
    database = _checked(database_url) if database_url else None
    from metercast.cli.demo.run import Ended, run_demo

    async def call(out: TextIO) -> Ended:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await run_demo(plan, out, database, keep=keep)

    try:
        ended = asyncio.run(call(sys.stderr if as_json else sys.stdout))
    except asyncio.CancelledError:
        return TERMINATED
    if as_json:
        write_line(ended.task)
    return FAILED if ended.problems else OK


def _checked(url: str) -> str:
    from metercast.databases import check_url, has_password, without_password

    source = click.get_current_context().get_parameter_source("database_url")
    if source is ParameterSource.COMMANDLINE and has_password(url):
        text = "--database-url: a password does not belong on a command line: use METERCAST_DEMO_DATABASE_URL"
        raise CommandFailed(text, USAGE)
    try:
        return check_url(url)
    except ValueError as error:
        raise CommandFailed(f"--database-url: {without_password(url)[:100]!r} {error}", USAGE) from None


def _read_rules(path: Path) -> tuple[Json, ...]:
    import msgspec

    from metercast.simulator.faults import parse_fault_rules

    try:
        text = path.read_bytes()
        parse_fault_rules(text)
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path}: {error}") from None
    rules: list[Json] = msgspec.json.decode(text)
    return tuple(rules)
