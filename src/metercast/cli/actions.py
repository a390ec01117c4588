"""The commands `cancel`, `pause`, `resume` and `retry-failed`."""

import asyncio

import click

from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.output import Json, counts_text, write, write_json


@click.command()
@click.argument("task_id", metavar="TASK")
@json_option
@with_server
def cancel(*, task_id: str, server: Server, as_json: bool) -> None:
    """Cancel a task: CANCELLED at once, and every waiting device with it.

    What is SENT ends by itself and shows what the meter did.
    """
    _act(server, task_id, "cancel", as_json=as_json)


@click.command()
@click.argument("task_id", metavar="TASK")
@json_option
@with_server
def pause(*, task_id: str, server: Server, as_json: bool) -> None:
    """Pause a task: no further device starts. Its expiry still counts."""
    _act(server, task_id, "pause", as_json=as_json)


@click.command()
@click.argument("task_id", metavar="TASK")
@json_option
@with_server
def resume(*, task_id: str, server: Server, as_json: bool) -> None:
    """Resume a paused task."""
    _act(server, task_id, "resume", as_json=as_json)


@click.command()
@click.argument("task_id", metavar="TASK")
@json_option
@with_server
def retry_failed(*, task_id: str, server: Server, as_json: bool) -> None:
    """Make a new task, due now, of the devices that failed.

    The task must be over. Prints the new task's id.
    """
    task = _acted(server, task_id, "retry-failed")
    write_json(task) if as_json else write(task["taskId"])


def _act(server: Server, task_id: str, action: str, *, as_json: bool) -> None:
    task = _acted(server, task_id, action)
    if as_json:
        write_json(task)
    else:
        write(f"{task['taskId']} is {task['status']}; {counts_text(task['counts'])}")


def _acted(server: Server, task_id: str, action: str) -> Json:
    async def call() -> Json:
        async with server.api() as api:
            return await api.act(task_id, action)

    return asyncio.run(call())
