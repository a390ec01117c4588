"""The command `submit`: a task from a JSON file, from flags, or from both."""

import asyncio
import secrets
import sys
from typing import Any

import click

from metercast.cli import exits
from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.device_files import opened, submit_from
from metercast.cli.exits import USAGE, CommandFailed
from metercast.cli.output import Json, write, write_json
from metercast.cli.progress import display_for
from metercast.cli.watch import follow
from metercast.client import NotReached

MAX_OCTETS = 1 << 30


@click.command()
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--file", "-f", "document_file", metavar="FILE", help="The task as JSON, as POST /tasks takes it; or -.")
@click.option("--type", "command_type", help="The command type, as in READ_CLOCK.")
@click.option("--params", metavar="JSON|@FILE", help="The command's parameters.")
@click.option(
    "--devices-from",
    "--devices-file",
    "devices_from",
    metavar="FILE",
    help="Device ids, one a line, or a CSV with a column deviceId; or -. It may be of any size.",
)
@click.option("--command-id", help="What the upstream request is called; without it a random one.")
@click.option("--at", "scheduled_at", metavar="TIME", help="When it is due, with zone; without it now.")
@click.option("--expires", "expires_at", metavar="TIME", help="When it is given up, with zone.")
@click.option("--priority", type=click.IntRange(0, 9), help="9 goes first.")
@click.option("--requested-by", help="Who asks.")
@click.option("--max-attempts", type=click.IntRange(1, 100), help="Attempts on each device.")
@click.option("--allow-unknown", is_flag=True, default=None, help="Devices that are not registered fail alone.")
@click.option("--idempotency-key", help="The same key and task again: no second task.")
@click.option(
    "--trace",
    "trace_minutes",
    type=click.IntRange(1, 10080),
    metavar="MINUTES",
    help="Trace its first sessions for so long, into the server's METERCAST_TRACE_DIR.",
)
@click.option("--watch", is_flag=True, help="Follow it to its end; the exit code is that of watch.")
@json_option
@with_server
def submit(
    *,
    devices: tuple[str, ...],
    document_file: str | None,
    devices_from: str | None,
    params: str | None,
    max_attempts: int | None,
    idempotency_key: str | None,
    trace_minutes: int | None,
    watch: bool,
    server: Server,
    as_json: bool,
    **fields: Any,
) -> int:
    """Submit a task for DEVICEs and print its id.

    The task comes from --file, from the other options, or from both, where the options go before the file.
    """
    if document_file == "-" and devices_from == "-":
        raise click.UsageError("standard input can be the task or the devices, not both")
    document = _read_document(document_file) if document_file is not None else {}
    document |= {_camel(name): value for name, value in fields.items() if value is not None}
    if params is not None:
        document["commandParams"] = _read_params(params)
    if max_attempts is not None:
        document["retry"] = {**(document.get("retry") or {}), "maxAttempts": max_attempts}
    if devices or devices_from is not None:
        document["devices"] = devices
    document.setdefault("commandId", f"cli-{secrets.token_hex(8)}")
    for name, option in (("commandType", "--type"), ("devices", "DEVICE or --devices-from")):
        if name not in document:
            raise click.UsageError(f"the task names no {name}: give {option}, or a --file that does")
    asked = _submit(server, document, devices_from, idempotency_key, trace_minutes, follows=watch, as_json=as_json)
    return asyncio.run(asked)


async def _submit(
    server: Server,
    document: Json,
    devices_from: str | None,
    key: str | None,
    trace_minutes: int | None,
    *,
    follows: bool,
    as_json: bool,
) -> int:
    # With a key of our own, asking again after an answer that got lost makes no second task.
    key = key or f"cli-{secrets.token_hex(12)}"
    async with server.api() as api:
        if trace_minutes is not None:  # first, so that no session goes by before it is in force
            await api.start_trace({"idempotencyKey": key, "minutes": trace_minutes})
        try:
            if devices_from is None:
                task = await api.submit(document, key)
            else:
                task = await submit_from(devices_from, api, document, key)
        except NotReached as error:
            again = f"to ask again without making a second task, give --idempotency-key {key}"
            if document["commandId"].startswith("cli-"):
                again += f" --command-id {document['commandId']}"
            raise CommandFailed(f"{error}; {again}", exits.NOT_REACHED) from None
        if not follows:
            write_json(task) if as_json else write(task["taskId"])
            return exits.OK
        if not as_json:
            write(task["taskId"])
        with display_for(sys.stdout, as_json=as_json) as display:
            task = await follow(api, task["taskId"], display)
    return exits.of_outcome(task["outcome"])


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _read_json(name: str, text: bytes | str) -> Json:
    import msgspec

    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CommandFailed(f"{name} is no JSON: {error}", USAGE) from None
    if not isinstance(document, dict):
        raise CommandFailed(f"{name} must hold a JSON object", USAGE)
    return document


def _read_document(name: str) -> Json:
    with opened(name) as file:
        text = file.read(MAX_OCTETS)
    return _read_json("the task on standard input" if name == "-" else name, text)


def _read_params(text: str) -> Json:
    if text.startswith("@"):
        with opened(text[1:]) as file:
            return _read_json(text[1:], file.read(MAX_OCTETS))
    return _read_json("--params", text)
