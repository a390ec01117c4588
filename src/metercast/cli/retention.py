"""The command `retention`."""

import asyncio

import click

from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.output import Json, write, write_json


@click.command()
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(0, 36500),
    metavar="DAYS",
    help="In place of the server's METERCAST_RETENTION_DAYS.",
)
@click.option("--delete", "deletes", is_flag=True, help="Delete these tasks now; --older-than is required.")
@json_option
@with_server
def retention(*, days: int | None, deletes: bool, server: Server, as_json: bool) -> None:
    """Show how long ended tasks are kept, and how many ended longer ago; or delete these now.

    Deleted tasks are gone at once for every call; what is kept of their devices goes little by little.
    """
    if deletes and days is None:
        raise click.UsageError("--delete needs --older-than DAYS")

    async def call() -> Json:
        async with server.api() as api:
            if not deletes or days is None:
                return await api.retention(days)
            deleted = await api.delete_ended(days)
            tasks = deleted["tasks"]
            while deleted["more"]:
                deleted = await api.delete_ended(days)
                tasks += deleted["tasks"]
            return {"endedBefore": deleted["endedBefore"], "tasks": tasks}

    found = asyncio.run(call())
    if as_json:
        write_json(found)
    elif deletes:
        write(f"{found['tasks']} tasks that ended before {found['endedBefore']} are deleted")
    else:
        kept = found["retentionDays"]
        write("ended tasks are kept for ever" if kept is None else f"ended tasks are kept for {kept} days")
        if found["tasks"] is not None:
            write(f"{found['tasks']} tasks ended before {found['endedBefore']}")
