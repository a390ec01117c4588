"""The command `show`: a task, its devices, or one of them."""

import asyncio
import sys

import click

from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.output import Json, shown, write, write_json, write_table, write_task
from metercast.client import Api

STATUSES = ("PENDING", "SENT", "SUCCESS", "FAILED", "CANCELLED")


@click.command()
@click.argument("task_id", metavar="TASK")
@click.option("--devices", is_flag=True, help="List its devices too.")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="With --devices: in that state.")
@click.option("--error", help="With --devices: with that error word.")
@click.option("--device", help="This one device, with its attempts and its result.")
@json_option
@with_server
def show(
    *,
    task_id: str,
    server: Server,
    devices: bool,
    status: str | None,
    error: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Show a task: its state, counts, and failures by error word.

    With --json the task document: without its devices, or with --devices whole; with a filter one device a line.
    """
    if device is not None and (devices or status or error):
        raise click.UsageError("--device shows one device: it goes with no filter")
    filtered = status is not None or error is not None

    async def call() -> None:
        async with server.api() as api:
            if device is not None:
                await _one(api, task_id, device, as_json=as_json)
            elif filtered and as_json:
                async for each in api.task_devices(task_id, _query(status, error)):
                    write_json(each)
            elif as_json and devices:
                await _whole(api, task_id)
            elif as_json:
                write_json(await api.task(task_id))
            else:
                write_task(await api.task(task_id), await api.errors(task_id))
                if devices or filtered:
                    await _list(api, task_id, _query(status, error))

    asyncio.run(call())


def _query(status: str | None, error: str | None) -> dict[str, str | int | None]:
    return {"status": status, "error": error, "limit": 1000}


async def _whole(api: Api, task_id: str) -> None:
    """As it comes from the server, so that a task of any size needs little memory."""
    sys.stdout.flush()
    async for piece in api.stream_task(task_id):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.write(b"\n")


async def _list(api: Api, task_id: str, query: dict[str, str | int | None]) -> None:
    rows = [
        (
            each["deviceId"],
            each["commandStatus"],
            each["error"] or each["how"],
            each["attempts"],
            each["lastUpdated"],
            each["errorDetail"],
        )
        async for each in api.task_devices(task_id, query)
    ]
    write()
    write_table(("device", "status", "error or how", "attempts", "last updated", "detail"), rows)


async def _one(api: Api, task_id: str, device_id: str, *, as_json: bool) -> None:
    detail = await api.task_device(task_id, device_id)
    if as_json:
        write_json(detail)
        return
    for name, field in (
        ("device", "deviceId"),
        ("task", "taskId"),
        ("command", "commandType"),
        ("status", "commandStatus"),
        ("how", "how"),
        ("error", "error"),
        ("detail", "errorDetail"),
        ("next try", "nextAttemptAt"),
        ("updated", "lastUpdated"),
    ):
        if detail[field] is not None:
            write(f"{name:<11} {shown(detail[field])}")
    if detail["progress"] is not None:
        told = detail["progress"]
        write(f"{'progress':<11} {told['percent']}%: {told['blocks']} of {told['of']} blocks")
    for attempt in detail["attemptsMade"]:
        write(f"{'attempt ' + str(attempt['attempt']):<11} {_attempt_text(attempt)}")
    if detail["result"] is not None:
        import msgspec

        write("result")
        write(msgspec.json.format(msgspec.json.encode(detail["result"]), indent=2).decode())


def _attempt_text(attempt: Json) -> str:
    end = f" to {attempt['endedAt']}" if attempt["endedAt"] else ", not ended"
    error = f": {attempt['error']}" if attempt["error"] else ""
    detail = f" ({attempt['errorDetail']})" if attempt["errorDetail"] else ""
    late = ", late" if attempt["late"] else ""
    return shown(f"{attempt['startedAt']}{end}{late}{error}{detail}")
