"""The commands `devices import`, `keys`, `list`, `show`, `put` and `delete`."""

import asyncio
import sys
from pathlib import Path
from typing import Literal

import click

from metercast.cli import exits
from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.exits import USAGE, CommandFailed
from metercast.cli.importing import DEFAULT_CHUNK, Report, import_foreign, import_lines, is_foreign, opened_lines
from metercast.cli.output import Json, shown, write, write_json, write_table

MAX_RECORD = 1 << 20


@click.group()
def devices() -> None:
    """Register meters: import, keys, list, show, put, delete."""


@devices.command("import")
@click.argument("file", metavar="FILE")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "ndjson", "gurux", "gxf"]),
    help="Without it, FILE tells by its beginning.",
)
@click.option(
    "--with",
    "tables",
    metavar="TABLE",
    multiple=True,
    help="A CSV that tells more of the same meters, such as a vendor's key file. May be given again.",
)
@click.option(
    "--set",
    "defaults",
    metavar="COLUMN=VALUE",
    multiple=True,
    help="What a meter has in a column that FILE leaves out. May be given again.",
)
@click.option(
    "--chunk",
    type=click.IntRange(1, 100_000),
    default=DEFAULT_CHUNK,
    show_default=True,
    help="Lines of one request: all of them are imported, or none.",
)
@click.option("--skip-bad", is_flag=True, help="Import the good lines of a chunk that has bad ones too.")
@json_option
@with_server
def import_(
    *,
    file: str,
    form: Literal["csv", "ndjson", "gurux", "gxf"] | None,
    tables: tuple[str, ...],
    defaults: tuple[str, ...],
    chunk: int,
    skip_bad: bool,
    server: Server,
    as_json: bool,
) -> int:
    """Import meters from FILE, or from standard input with -.

    CSV with a header line, NDJSON with a record and its deviceId a line, or a device list of GXDLMSDirector or GXF.
    Every bad line is reported with its number in FILE; the exit code is 1 where there was one.
    """

    async def call() -> Report:
        async with server.api() as api:
            if tables or defaults or form in ("gurux", "gxf") or (form is None and is_foreign(file)):
                return await import_foreign(api, file, form, tables, _assigned(defaults), chunk, skip_bad)
            assert form != "gurux"
            assert form != "gxf"
            with opened_lines(file, form) as (lines, media_type):
                return await import_lines(api.import_devices, lines, media_type, chunk=chunk, skips_bad=skip_bad)

    return _told(asyncio.run(call()), file, as_json)


@devices.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--chunk",
    type=click.IntRange(1, 100_000),
    default=DEFAULT_CHUNK,
    show_default=True,
    help="Lines of one request: the secrets of all of them are replaced, or of none.",
)
@click.option("--skip-bad", is_flag=True, help="Take the good lines beside bad ones too.")
@json_option
@with_server
def keys(*, file: str, chunk: int, skip_bad: bool, server: Server, as_json: bool) -> int:
    """Replace secrets of registered meters with those in FILE, a vendor's CSV, or on standard input with -.

    A column tells the meter: its deviceId, system title or logical device name. All else of it stays, and a secret that
    is not in FILE too. A key that Metercast made is not lost. The exit code is 1 where there was a bad line.
    """
    from metercast.cli.key_files import import_keys

    async def call() -> Report:
        async with server.api() as api:
            return await import_keys(api, file, chunk, skip_bad)

    return _told(asyncio.run(call()), file, as_json)


def _told(report: Report, file: str, as_json: bool) -> int:
    """Tells the report; the exit code."""
    if as_json:
        write_json(report.as_dict())
    else:
        for bad in report.bad:
            sys.stderr.write(shown(f"{file}:{bad['line']}: {bad['path']}: {bad['reason']}{_received(bad)}") + "\n")
        if report.bad_lines > len(report.bad):
            sys.stderr.write(f"... and {report.bad_lines - len(report.bad)} more bad lines\n")
        write(
            f"{report.created} created, {report.updated} updated, {report.bad_lines} bad lines, "
            f"{report.left_out} good lines left out beside them"
            if report.bad_lines
            else f"{report.created} created, {report.updated} updated"
        )
    return exits.FAILED if report.bad_lines else exits.OK


def _assigned(defaults: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in defaults:
        name, equals, value = each.partition("=")
        if not equals or name in found:
            raise CommandFailed(f"--set {shown(name)}: write COLUMN=VALUE, each column once", USAGE)
        found[name] = value
    return found


def _received(bad: Json) -> str:
    return f"; received {bad['received']}" if bad.get("received") is not None else ""


@devices.command("list")
@click.option("--prefix", help="Whose id begins so.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@json_option
@with_server
def list_(*, prefix: str | None, limit: int, server: Server, as_json: bool) -> None:
    """List meters in the order of their ids; with --json one a line."""

    async def call() -> list[Json]:
        found: list[Json] = []
        async with server.api() as api:
            async for each in api.devices({"prefix": prefix, "limit": min(limit, 1000)}):
                found.append(each)
                if len(found) == limit:
                    break
        return found

    found = asyncio.run(call())
    if as_json:
        for each in found:
            write_json(each)
        return
    write_table(("device", "address", "channel", "association", "protection", "identity"), map(_row, found))


def _row(device: Json) -> tuple[object, ...]:
    connection, associations = device["connection"], device["associations"]
    management = associations.get("management") or associations.get("public") or {}
    identity = device["identity"]
    return (
        device["deviceId"],
        f"{connection['host']}:{connection['port']}",
        connection["channel"],
        management.get("authentication", "none"),
        management.get("protection", "none"),
        identity["serverSystemTitle"] or identity["logicalDeviceName"],
    )


@devices.command()
@click.argument("device_id", metavar="DEVICE")
@with_server
def show(*, device_id: str, server: Server) -> None:
    """Show a meter's record as JSON, without its secrets."""

    async def call() -> Json:
        async with server.api() as api:
            return await api.device(device_id)

    write_json(asyncio.run(call()))


@devices.command()
@click.argument("device_id", metavar="DEVICE")
@click.argument("file", metavar="FILE")
@with_server
def put(*, device_id: str, file: str, server: Server) -> None:
    """Create or replace a meter with the JSON record in FILE, or on standard input with -.

    A secret that is left out stays as it is stored; null removes it.
    """
    record = _read_record(file)

    async def call() -> Json:
        async with server.api() as api:
            return await api.put_device(device_id, record)

    write_json(asyncio.run(call()))


@devices.command()
@click.argument("device_ids", metavar="DEVICE...", nargs=-1, required=True)
@with_server
def delete(*, device_ids: tuple[str, ...], server: Server) -> None:
    """Delete meters. Refused for one that a task still needs."""

    async def call() -> None:
        async with server.api() as api:
            for device_id in device_ids:
                await api.delete_device(device_id)
                write(f"{shown(device_id)} is deleted")

    asyncio.run(call())


def _read_record(name: str) -> Json:
    import msgspec

    try:
        if name == "-":
            text = sys.stdin.buffer.read(MAX_RECORD)
        else:
            with Path(name).open("rb") as file:
                text = file.read(MAX_RECORD)
        record = msgspec.json.decode(text)
    except OSError as error:
        raise CommandFailed(f"cannot read {name}: {error.strerror}", USAGE) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CommandFailed(f"{name} is no JSON: {error}", USAGE) from None
    if not isinstance(record, dict):
        raise CommandFailed(f"{name} must hold a JSON object", USAGE)
    return record
