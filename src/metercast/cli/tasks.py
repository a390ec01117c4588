"""The command `tasks`."""

import asyncio

import click

from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.output import Json, ended, write, write_json, write_table

STATUSES = ("QUEUED", "IN_PROGRESS", "PAUSED", "COMPLETED", "FAILED", "CANCELLED")


@click.command()
@click.option("--command-id", help="Of that upstream request.")
@click.option("--device", help="That hold this device.")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="In that state.")
@click.option("--type", "command_type", help="Of that command type, as in SET_TOU.")
@click.option("--from", "created_from", metavar="TIME", help="Created then or later; with zone.")
@click.option("--to", "created_to", metavar="TIME", help="Created before then.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--cursor", help="Goes on where a page ended; with the same filters.")
@json_option
@with_server
def tasks(
    *,
    server: Server,
    command_id: str | None,
    device: str | None,
    status: str | None,
    command_type: str | None,
    created_from: str | None,
    created_to: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """Find tasks, newest first."""
    query = {
        "commandId": command_id,
        "deviceId": device,
        "status": status,
        "commandType": command_type,
        "from": created_from,
        "to": created_to,
        "limit": limit,
        "cursor": cursor,
    }

    async def call() -> Json:
        async with server.api() as api:
            return await api.tasks(query)

    page = asyncio.run(call())
    if as_json:
        write_json(page)
        return
    headings = ("task", "command", "status", "outcome", "done", "failed", "due", "command id")
    write_table(headings, (_row(task) for task in page["tasks"]))
    if page["nextCursor"]:
        write(f"more: --cursor {page['nextCursor']}")


def _row(task: Json) -> tuple[object, ...]:
    counts = task["counts"]
    return (
        task["taskId"],
        task["commandType"],
        task["status"],
        task["outcome"],
        f"{ended(counts)}/{counts['total']}",
        counts["failed"],
        task["scheduledAt"],
        task["commandId"],
    )
