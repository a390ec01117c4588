"""The commands `keys create`, `keys list` and `keys revoke`."""

import asyncio
import os
from pathlib import Path

import click

from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.exits import CommandFailed
from metercast.cli.output import Json, shown, write, write_json, write_table

ROLES = ("viewer", "operator", "engineer", "admin")


@click.group()
def keys() -> None:
    """Create, list and revoke API keys; needs an admin's key."""


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="A viewer reads, an operator acts, an engineer also on any object.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the key to this new file, for its owner only, and print it nowhere.",
)
@json_option
@with_server
def create(*, name: str, role: str, out: Path | None, server: Server, as_json: bool) -> None:
    """Create an API key. It is shown this once: the server keeps its hash only."""
    descriptor = _reserve(out) if out is not None else None

    async def call() -> Json:
        async with server.api() as api:
            return await api.create_key(name, role)

    try:
        key = asyncio.run(call())
    except BaseException:
        if out is not None:
            out.unlink(missing_ok=True)
        raise
    if descriptor is not None:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.pop("key") + "\n")
    if as_json:
        write_json(key)
    elif out is not None:
        write(f"key {key['keyId']} ({key['name']}, {key['role']}) is in {out}")
    else:
        write(key["key"])


def _reserve(path: Path) -> int:
    """The file is made before the key, so that no key is made that can't be kept."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CommandFailed(f"cannot create {path}: {error.strerror}") from None


@keys.command("list")
@json_option
@with_server
def list_(*, server: Server, as_json: bool) -> None:
    """List the API keys, oldest first; never the keys themselves."""

    async def call() -> list[Json]:
        async with server.api() as api:
            return await api.keys()

    found = asyncio.run(call())
    if as_json:
        write_json({"keys": found})
        return
    headings = ("key id", "name", "role", "created", "revoked")
    write_table(headings, ((k["keyId"], k["name"], k["role"], k["createdAt"], k["revokedAt"]) for k in found))


@keys.command()
@click.argument("key_id", metavar="KEY-ID")
@json_option
@with_server
def revoke(*, key_id: str, server: Server, as_json: bool) -> None:
    """Revoke an API key, from the next request on."""

    async def call() -> Json:
        async with server.api() as api:
            return await api.revoke_key(key_id)

    key = asyncio.run(call())
    write_json(key) if as_json else write(f"{key['keyId']} ({shown(key['name'])}) is revoked")
