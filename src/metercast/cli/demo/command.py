"""The command `demo`."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import TextIO

import click

from metercast.cli.connect import json_option
from metercast.cli.demo.plan import MAX_METERS, MIN_METERS, Json, Plan
from metercast.cli.exits import FAILED, OK, TERMINATED, CommandFailed
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
@json_option
def demo(*, meters: int, keep: bool, faults: Path | None, as_json: bool) -> int:
    """Run a whole fleet on this machine, end to end.

    Starts simulated meters and the server as processes of their own, registers the meters, submits SET_TOU, shows the
    progress, and compares what the meters then hold with what the server says. Ends by itself; the exit code is 0 only
    if everything came as planned. With --json the last line, the only one on standard output, is the final task
    without its devices.
    """
    plan = Plan(meters, _read_rules(faults) if faults is not None else ())
    from metercast.cli.demo.run import Ended, run_demo

    async def call(out: TextIO) -> Ended:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await run_demo(plan, out, keep=keep)

    try:
        ended = asyncio.run(call(sys.stderr if as_json else sys.stdout))
    except asyncio.CancelledError:
        return TERMINATED
    if as_json:
        write_line(ended.task)
    return FAILED if ended.problems else OK


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
