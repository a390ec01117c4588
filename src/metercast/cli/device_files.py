"""Files of device ids of any size, and the task that is submitted for them."""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

from metercast.cli.exits import USAGE, CommandFailed
from metercast.cli.output import Json
from metercast.client import Api, Refused

COLUMN = "deviceId"
MAX_LINE = 64 << 10
_PIECE = 64 << 10


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """The file, or standard input for "-"."""
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise CommandFailed(f"cannot read {name}: {error.strerror}", USAGE) from None


async def submit_from(name: str, api: Api, document: Json, key: str) -> Json:
    """Submits the task for `document`'s devices and then those of the file, as a stream. What is wrong with a line is
    said with its number in the file."""
    header = {field: value for field, value in document.items() if field != "devices"}
    with opened(name) as file:
        try:
            return await api.submit_lines(header, _pieces(document["devices"], file, name), key)
        except Refused as error:
            raise _in_the_file(error, 1 + len(document["devices"]), name) from None


def _pieces(first: Sequence[str], file: IO[bytes], name: str) -> Iterator[bytes]:
    """NDJSON, a line for each line of the file, so that the numbers stay; those that name no device are empty."""
    import msgspec

    encode = msgspec.json.encode
    piece = bytearray()
    for device_id in chain(first, _ids(file, name)):
        piece += b"\n" if device_id is None else encode(device_id) + b"\n"
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _ids(file: IO[bytes], name: str) -> Iterator[str | None]:
    """The id on each line as it stands there, or in the column deviceId where the first line has one."""
    column: int | None = None
    starts = True
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise CommandFailed(f"{name}: line {number} is longer than {MAX_LINE} octets")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise CommandFailed(f"{name}: line {number} is not UTF-8", USAGE) from None
        if not text.strip():
            yield None
        elif starts and COLUMN in _cells(text):
            column = _cells(text).index(COLUMN)
            yield None
        elif column is None:
            yield text
        else:
            yield _cell(_cells(text), column, number, name)
        starts = starts and not text.strip()


def _cells(text: str) -> list[str]:
    try:
        (cells,) = csv.reader([text])
    except (csv.Error, ValueError):
        return []
    return cells


def _cell(cells: list[str], column: int, number: int, name: str) -> str | None:
    if not any(cells):
        return None
    if column >= len(cells) or not cells[column]:
        raise CommandFailed(f"{name}: line {number} has no {COLUMN}", USAGE)
    return cells[column]


def _in_the_file(error: Refused, before: int, name: str) -> Exception:
    """The refusal in words of the file, where it is one of lines; `before` lines of the request came first."""
    found = next((each for each in error.document.get("errors") or () if isinstance(each, dict)), {})
    line = found.get("line")
    if not isinstance(line, int):
        return error

    def place(match: re.Match[str] | int) -> str:
        number = match if isinstance(match, int) else int(match[1])
        return f"line {number - before} of {name}" if number > before else f"DEVICE {number - 1}"

    reason = re.sub(r"\bline (\d+)\b", place, str(found.get("reason")))
    count = error.document.get("errorCount")
    more = f"; {count} devices in all" if isinstance(count, int) and count > 1 else ""
    received = f"; received {found['received']}" if "received" in found else ""
    return CommandFailed(f"nothing was created: {place(line)}: {found.get('path')}: {reason}{received}{more}")
