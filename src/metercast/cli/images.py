"""The commands `images add`, `images list` and `images delete`."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import click

from metercast.cli.connect import Server, json_option, with_server
from metercast.cli.exits import USAGE, CommandFailed
from metercast.cli.output import Json, shown, write, write_json, write_table

_PIECE = 64 << 10


@click.group()
def images() -> None:
    """Upload firmware images for FIRMWARE_UPDATE, list and delete them."""


@images.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="The image's name; without it that of the file.")
@json_option
@with_server
def add(*, file: Path, name: str | None, server: Server, as_json: bool) -> None:
    """Upload an image. It is stored once, whatever number of meters it is for.

    The server checks that what came has the SHA-256 of the file. The same file once more changes nothing.
    """
    try:
        digest = _sha256(file)
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}", USAGE) from None

    async def call() -> Json:
        async with server.api() as api:
            return await api.put_image(name or file.name, _pieces(file), digest)

    image = asyncio.run(call())
    if as_json:
        write_json(image)
    else:
        write(f"image {shown(image['name'])}: {image['size']} octets, sha256:{image['sha256']}")


@images.command("list")
@json_option
@with_server
def list_(*, server: Server, as_json: bool) -> None:
    """List the images, in order of name."""

    async def call() -> list[Json]:
        async with server.api() as api:
            return await api.images()

    found = asyncio.run(call())
    if as_json:
        write_json({"images": found})
        return
    headings = ("name", "size", "created", "sha256")
    write_table(headings, ((each["name"], each["size"], each["createdAt"], each["sha256"]) for each in found))


@images.command()
@click.argument("name")
@with_server
def delete(*, name: str, server: Server) -> None:
    """Delete an image; refused while a task that is not over needs it."""

    async def call() -> None:
        async with server.api() as api:
            await api.delete_image(name)

    asyncio.run(call())
    write(f"image {shown(name)} is deleted")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while octets := file.read(_PIECE):
            yield octets
