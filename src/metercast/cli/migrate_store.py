"""The command `migrate-store`."""

import asyncio
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from metercast.cli.connect import json_option
from metercast.cli.exits import USAGE, CommandFailed
from metercast.cli.output import write, write_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from metercast.store.contract import Store
    from metercast.store.transfer import Copied

SOURCE, TARGET = "METERCAST_MIGRATE_FROM", "METERCAST_MIGRATE_TO"
LINE_SECONDS = 5.0


@click.command("migrate-store")
@click.option("--from", "source", metavar="URL", help=f"The database to copy from.  [{SOURCE}]")
@click.option("--to", "target", metavar="URL", help=f"The database to copy to.  [{TARGET}]")
@json_option
def migrate_store(*, source: str | None, target: str | None, as_json: bool) -> None:
    """Copy everything from one database to another.

    Meters with their sealed secrets, invocation counters, API keys, firmware images, and tasks with all that is kept
    of their devices. No server may run on either. The copy is read back and compared by checksums; where it was cut,
    the same command goes on. URLs are those of METERCAST_DATABASE_URL; one with a password goes into the variable
    only. The secrets stay sealed under the same master key: the server on the new database needs it.
    """
    urls = [_url("--from", source, SOURCE), _url("--to", target, TARGET)]
    if urls[0] == urls[1]:
        raise CommandFailed("--from and --to are the same database", USAGE)
    copied = asyncio.run(_copy(*urls))
    if as_json:
        write_json(copied)
        return
    there = f" ({copied.skipped} of them were there already)" if copied.skipped else ""
    write(
        f"{copied.meters} meters, {copied.counters} invocation counters, {copied.keys} API keys, "
        f"{copied.images} images, {copied.tasks} tasks"
        f"{there} with {copied.devices} devices: copied and compared, checksum {copied.checksum}"
    )


def _url(option: str, given: str | None, variable: str) -> str:
    from metercast.databases import check_url, has_password, without_password

    if given is not None and has_password(given):
        raise CommandFailed(f"{option}: a password does not belong on a command line: use {variable}", USAGE)
    url = given or os.environ.get(variable)
    if not url:
        raise CommandFailed(f"{option} or {variable} is required", USAGE)
    try:
        return check_url(url)
    except ValueError as error:
        raise CommandFailed(f"{option}: {without_password(url)[:100]!r} {error}", USAGE) from None


async def _copy(source_url: str, target_url: str) -> "Copied":
    from metercast.store.transfer import CopyDiffers, copy_store

    source = await _opened(source_url, must_exist=True)
    try:
        target = await _opened(target_url, must_exist=False)
        try:
            with _Bar() as bar:
                return await copy_store(source, target, bar.tell)
        except CopyDiffers as error:
            raise CommandFailed(str(error)) from None
        finally:
            await target.close()
    finally:
        await source.close()


async def _opened(url: str, *, must_exist: bool) -> "Store":
    from metercast.databases import SQLITE, MissingLibrary, open_store, sqlite_path
    from metercast.store.errors import StoreInUse, StoreTooNew, StoreUnavailable

    if must_exist and url.startswith(SQLITE) and not sqlite_path(url).is_file():
        raise CommandFailed(f"there is no file {sqlite_path(url)}", USAGE)
    try:
        return await open_store(url)
    except (MissingLibrary, StoreInUse, StoreTooNew) as error:
        raise CommandFailed(str(error)) from None
    except StoreUnavailable as error:
        raise CommandFailed(error.detail) from None


class _Bar:
    """How far the copy is, on stderr: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._rows: dict[str, TaskID] = {}
        self._told_at = time.monotonic()
        if sys.stderr.isatty():
            self._progress = _live_bar()

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def tell(self, noun: str, done: int, total: int | None) -> None:
        if self._progress is not None:
            if noun not in self._rows:
                self._rows[noun] = self._progress.add_task(noun, total=total)
            self._progress.update(self._rows[noun], completed=done, total=total or done)
        elif time.monotonic() - self._told_at >= LINE_SECONDS:
            self._told_at = time.monotonic()
            sys.stderr.write(f"{noun}: {done}{f' of {total}' if total else ''}\n")


def _live_bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<17}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
