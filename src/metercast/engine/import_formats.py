"""CSV and NDJSON: from octets to one plain record a line. Bounded: a line is at most 64 KiB long."""

import csv
from collections.abc import AsyncIterator, Sequence
from typing import Any

from metercast.domain.problem import InvalidField, Problem
from metercast.engine.decoding import decode_any, preview

MAX_LINE = 64 * 1024
ASSOCIATION = "management"  # what the association columns of a CSV belong to

# By column: where its value stands in the record.
COLUMNS: dict[str, tuple[str, ...]] = {
    "deviceId": ("deviceId",),
    "host": ("connection", "host"),
    "port": ("connection", "port"),
    "framing": ("connection", "framing"),
    "addressSize": ("connection", "hdlc", "addressSize"),
    "physicalDevice": ("connection", "hdlc", "physicalDevice"),
    "channel": ("connection", "channel"),
    "maxSessions": ("connection", "maxSessions"),
    "serverSap": ("serverSap",),
    "profile": ("profile",),
    "timeZone": ("timeZone",),
    "clientSap": ("associations", ASSOCIATION, "clientSap"),
    "authentication": ("associations", ASSOCIATION, "authentication"),
    "protection": ("associations", ASSOCIATION, "protection"),
    "securitySuite": ("associations", ASSOCIATION, "securitySuite"),
    "clientSystemTitle": ("associations", ASSOCIATION, "clientSystemTitle"),
    "keySet": ("associations", ASSOCIATION, "keySet"),
    "dedicatedCiphering": ("associations", ASSOCIATION, "dedicatedCiphering"),
    "generalProtection": ("associations", ASSOCIATION, "generalProtection"),
    "hlsMethod": ("associations", ASSOCIATION, "hlsMethod"),
    "serverPublicKey": ("associations", ASSOCIATION, "serverPublicKey"),
    "password": ("associations", ASSOCIATION, "password"),
    "encryptionKey": ("associations", ASSOCIATION, "encryptionKey"),
    "authenticationKey": ("associations", ASSOCIATION, "authenticationKey"),
    "broadcastKey": ("associations", ASSOCIATION, "broadcastKey"),
    "masterKey": ("associations", ASSOCIATION, "masterKey"),
    "signingKey": ("associations", ASSOCIATION, "signingKey"),
    "serverSystemTitle": ("identity", "serverSystemTitle"),
    "logicalDeviceName": ("identity", "logicalDeviceName"),
}
REQUIRED = ("deviceId", "host")
_NUMBERS = frozenset(
    {"port", "addressSize", "physicalDevice", "maxSessions", "serverSap", "clientSap", "securitySuite"}
)
_YES_OR_NO = frozenset({"dedicatedCiphering", "generalProtection"})
_WORDS = {"true": True, "false": False}

Row = tuple[int, dict[str, Any] | Problem]  # the line's number, from 1, and its record or what is wrong with it


async def blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Whole lines in blocks: the number of the first line, and the lines without the last one's end.

    Raises InvalidField at a line too long, as soon as it is.
    """
    number, rest = 1, b""
    async for chunk in chunks:
        whole, end, rest = (rest + chunk).rpartition(b"\n")
        if end:
            check_lengths(number, whole)
            yield number, whole
            number += whole.count(b"\n") + 1
        if len(rest) > MAX_LINE:
            check_lengths(number, rest)
    if rest.strip():
        yield number, rest


def check_lengths(number: int, block: bytes) -> None:
    """InvalidField at a line that is too long; `number` is that of the block's first."""
    if len(block) <= MAX_LINE:
        return
    for index, line in enumerate(block.split(b"\n")):
        if len(line) > MAX_LINE:
            raise InvalidField.secret(f"line {number + index}", f"longer than {MAX_LINE} octets")


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, str]]:
    """Number and text of each line that is not blank. Raises InvalidField at a line too long or not UTF-8."""
    async for first, block in blocks(chunks):
        for number, line in enumerate(block.split(b"\n"), first):
            if line.strip():
                yield number, text_of(number, line)


def text_of(number: int, line: bytes) -> str:
    """A line without its end. Raises InvalidField where it is not UTF-8."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
    except UnicodeDecodeError:
        raise InvalidField.secret(f"line {number}", "not UTF-8") from None


async def ndjson_rows(chunks: AsyncIterator[bytes]) -> AsyncIterator[Row]:
    """A JSON object a line."""
    async for number, text in lines(chunks):
        try:
            record = decode_any(text.encode())
        except Problem as problem:
            yield number, problem
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            yield number, InvalidField.secret("record", "a JSON object is expected")


async def csv_rows(chunks: AsyncIterator[bytes], required: Sequence[str] = REQUIRED) -> AsyncIterator[Row]:
    """A header line and a meter a line. An empty cell is as if left out. Raises InvalidField for a bad header, such as
    one without the `required` columns."""
    header: list[str] | None = None
    async for number, text in lines(chunks):
        try:
            (cells,) = csv.reader([text], strict=True)
        except (csv.Error, ValueError):
            yield number, InvalidField.secret("line", "quotes that do not match")
            continue
        if header is None:
            header = _header(cells, required)
        elif len(cells) != len(header):
            yield number, InvalidField.secret("line", f"{len(cells)} cells, and the header names {len(header)} columns")
        else:
            yield number, _record(header, cells)
    if header is None:
        raise InvalidField.secret("header", "the file is empty; its first line names the columns")


def _header(cells: list[str], required: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if name not in COLUMNS:
            raise InvalidField("header", preview(name), f"no such column; known: {', '.join(COLUMNS)}")
        if names.count(name) > 1:
            raise InvalidField("header", name, "the column stands twice")
    for name in required:
        if name not in names:
            raise InvalidField.secret("header", f"the column {name} is required, and missing")
    return names


def _record(header: list[str], cells: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        if not cell:
            continue
        *outer, last = COLUMNS[name]
        inside = record
        for step in outer:
            inside = inside.setdefault(step, {})
        is_number = name in _NUMBERS and cell.isascii() and cell.isdigit() and len(cell) < 10
        value: int | bool | str = int(cell) if is_number else cell
        inside[last] = _WORDS.get(cell.lower(), cell) if name in _YES_OR_NO else value
    return record
