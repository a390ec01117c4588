"""The command `results`."""

import asyncio
import sys
from pathlib import Path
from typing import BinaryIO

import click

from metercast.cli.connect import Server, with_server


@click.command()
@click.argument("task_id", metavar="TASK")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead of standard output; it is there only once all of it is.",
)
@with_server
def results(*, task_id: str, server: Server, output: Path | None) -> None:
    """Write the results of a whole task as NDJSON, a line a device.

    Each line has deviceId, commandStatus, error, lastUpdated, how and result, in the order of submission. They come as
    the server reads them, so that a task of any size needs little memory; it may still run.
    """
    if output is None:
        sys.stdout.flush()
        asyncio.run(_write(server, task_id, sys.stdout.buffer))
        return
    partial = output.with_name(output.name + ".part")
    try:
        with partial.open("wb") as file:
            asyncio.run(_write(server, task_id, file))
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


async def _write(server: Server, task_id: str, file: BinaryIO) -> None:
    async with server.api() as api:
        async for piece in api.stream_results(task_id):
            file.write(piece)
