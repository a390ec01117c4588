"""The command `watch`, and how a task is followed."""

import asyncio
import sys
from types import TracebackType
from typing import Self

import click

from metercast.cli import exits
from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.output import Json
from metercast.cli.progress import Display, Progress, Rate, display_for
from metercast.client import Api, NotReached, Refused

FIRST_POLL_SECONDS = 0.2
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
QUIET_SHARE = 9


@click.command()
@click.argument("task_id", metavar="TASK")
@json_option
@with_server
def watch(*, task_id: str, server: Server, as_json: bool) -> int:
    """Follow a task until no device is waiting or being worked on.

    The exit code tells the outcome: 0 all succeeded, 10 some, 11 none, 12 cancelled. With --json a line of JSON for
    every change, the last one is the task as it ended. A server that restarts meanwhile is waited for.
    """

    async def call() -> Json:
        async with server.api() as api:
            with display_for(sys.stdout, as_json=as_json) as display:
                return await follow(api, task_id, display)

    return exits.of_outcome(asyncio.run(call())["outcome"])


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, progress: Progress) -> None: ...

    def note(self, text: str) -> None: ...


async def follow(api: Api, task_id: str, display: Display) -> Json:
    """The task when it is over. Raises NotReached where the server stays away for two minutes."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    heard: float | None = None
    rate = Rate()
    pause = FIRST_POLL_SECONDS
    while True:
        asked = loop.time()
        try:
            task = await api.task(task_id)
            errors = await api.errors(task_id)
        except (NotReached, Refused) as error:
            if not _may_pass(error) or heard is None or asked - heard > PATIENCE_SECONDS:
                raise
            display.note(f"{error}; trying again")
            await asyncio.sleep(POLL_SECONDS)
            continue
        heard = loop.time()
        progress = Progress(task, errors, heard - started, 0.0)
        rate.add(heard, progress.done)
        display.show(progress._replace(rate=rate.per_second))
        if task["outcome"] is not None:
            return task
        # Counting the errors of a huge task takes a while: looking must stay a small part of the server's work.
        await asyncio.sleep(max(pause, QUIET_SHARE * (loop.time() - asked)))
        pause = min(pause * 1.2, POLL_SECONDS)


def _may_pass(error: NotReached | Refused) -> bool:
    """Whether it is only that the server starts again or its store is busy."""
    return isinstance(error, NotReached) or error.status == 503
