"""The commands `traces ...`."""

import asyncio

import click

from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.output import Json, shown, write, write_json, write_table


@click.group()
def traces() -> None:
    """Trace sessions with meters: a log for people and a pcap of each, without secrets."""


@traces.command()
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--task", "task_id", metavar="TASK", help="The sessions of this task, in place of those of DEVICEs.")
@click.option("--minutes", type=click.IntRange(1, 10080), default=60, show_default=True, help="How long.")
@click.option("--sessions", type=click.IntRange(1, 10000), default=20, show_default=True, help="How many at most.")
@json_option
@with_server
def start(
    *, devices: tuple[str, ...], task_id: str | None, minutes: int, sessions: int, server: Server, as_json: bool
) -> None:
    """Trace the next sessions with DEVICEs, or those of a task, into the server's METERCAST_TRACE_DIR."""
    if bool(devices) == (task_id is not None):
        raise click.UsageError("give DEVICEs or --task")
    wish: Json = {"minutes": minutes, "maxSessions": sessions}
    wish |= {"devices": list(devices)} if devices else {"taskId": task_id}

    async def call() -> Json:
        async with server.api() as api:
            return await api.start_trace(wish)

    trace = asyncio.run(call())
    write_json(trace) if as_json else write(trace["traceId"])


@traces.command("list")
@json_option
@with_server
def list_(*, server: Server, as_json: bool) -> None:
    """List the traces, with the files that they have written so far."""

    async def call() -> list[Json]:
        async with server.api() as api:
            return await api.traces()

    found = asyncio.run(call())
    if as_json:
        write_json({"traces": found})
        return
    headings = ("trace", "of", "until", "sessions left", "files")
    write_table(
        headings,
        ((each["traceId"], _of(each), each["endsAt"], each["sessionsLeft"], " ".join(each["files"])) for each in found),
    )


@traces.command()
@click.argument("trace_id", metavar="TRACE")
@json_option
@with_server
def stop(*, trace_id: str, server: Server, as_json: bool) -> None:
    """End a trace; sessions that are under way are written to their end."""

    async def call() -> Json:
        async with server.api() as api:
            return await api.stop_trace(trace_id)

    trace = asyncio.run(call())
    if as_json:
        write_json(trace)
        return
    write(f"{trace['traceId']} of {shown(_of(trace))} is ended; files written: {len(trace['files'])}")
    for name in trace["files"]:
        write(f"  {shown(name)}")


def _of(trace: Json) -> str:
    return str(trace["taskId"]) if trace["devices"] is None else " ".join(trace["devices"])
