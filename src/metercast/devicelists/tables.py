"""CSV as other programs write it: its own delimiter, its own names of columns, quoted line breaks.

A vendor's key file is one of these: a column that tells the meter, and columns with its keys. The names that are known
for a column are those that were seen; what they are compared by is letters and digits alone.
"""

import csv
from collections.abc import Iterator
from itertools import chain
from typing import IO, Any, Final, NamedTuple

from metercast.devicelists.gxf import ID_COLUMN, table_record
from metercast.devicelists.records import KEYS, Given, Row, plain_hex, put
from metercast.domain.problem import InvalidField, Problem
from metercast.engine.import_formats import COLUMNS

MAX_LINE: Final = 64 * 1024
_DELIMITERS: Final = ",;\t|"
_NUMBERS: Final = frozenset(
    {"port", "addressSize", "physicalDevice", "maxSessions", "serverSap", "clientSap", "securitySuite"}
)

OTHER_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "deviceId": (
        *("meter id", "device identification", "serial", "serial number", "serial no", "meter serial number"),
        *("meter number", "meter no"),
    ),
    "host": ("ip", "ip address", "network address", "hostname"),
    "port": ("tcp port",),
    "encryptionKey": (
        *("ek", "guek", "gek", "encryption unicast key", "global unicast encryption key"),
        *("global encryption unicast key", "global encryption key", "block cipher key"),
    ),
    "authenticationKey": ("ak", "gak", "global authentication key"),
    "broadcastKey": (
        *("gbek", "bek", "global broadcast encryption key", "global encryption broadcast key"),
        "broadcast encryption key",
    ),
    "masterKey": ("mk", "kek", "key encryption key"),
    "password": ("lls password", "lls secret", "lls", "low level security secret"),
    "serverSystemTitle": ("system title", "meter system title"),
    "logicalDeviceName": ("ldn", "cosem logical device name"),
}


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


_COLUMN_OF: Final = {_bare(column): column for column in COLUMNS} | {
    _bare(other): column for column, others in OTHER_NAMES.items() for other in others
}


class Header(NamedTuple):
    """`columns` are by place; None where a column means nothing here, and is among `ignored`."""

    columns: list[str | None]
    ignored: list[str]


def cells(file: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line that it begins in; the first is the header. InvalidField where it can't be read."""
    lines = _lines(file)
    start = next(lines, "")
    if not start.strip():
        raise InvalidField.secret("header", "the first line names the columns")
    delimiter = max(_DELIMITERS, key=start.count)
    reader = csv.reader(chain([start], lines), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidField.secret(f"line {line}", f"no CSV: {error}") from None


def _lines(file: IO[str]) -> Iterator[str]:
    number = 0
    try:
        while text := file.readline(MAX_LINE):
            number += 1
            if len(text) == MAX_LINE and not text.endswith("\n"):
                raise InvalidField.secret(f"line {number}", f"longer than {MAX_LINE} characters")
            yield text
    except UnicodeDecodeError:
        raise InvalidField.secret(f"line {number + 1}", "not UTF-8") from None


def header_of(row: list[str], ignores: bool) -> Header:
    """InvalidField where a column stands twice, or is unknown and not to be ignored."""
    columns: list[str | None] = []
    ignored: list[str] = []
    for name in (cell.strip() for cell in row):
        column = _COLUMN_OF.get(_bare(name))
        if column is None:
            if not ignores:
                raise InvalidField("header", name[:100], f"no such column; known: {', '.join(COLUMNS)}")
            ignored.append(name[:100])
        elif column in columns:
            raise InvalidField("header", name[:100], f"a second column for {column}")
        columns.append(column)
    return Header(columns, ignored)


def record_of(columns: list[str | None], row: list[str]) -> dict[str, Any]:
    """An empty cell is as if left out. InvalidField names a column, and never the value of a secret one."""
    if len(row) != len(columns):
        raise InvalidField.secret("line", f"{len(row)} cells, and the header names {len(columns)} columns")
    record: dict[str, Any] = {}
    for column, cell in zip(columns, row, strict=True):
        text = cell.strip() if column != "password" else cell
        if column is None or not text:
            continue
        if column in KEYS:
            put(record, column, plain_hex(text, column, (32, 64), "a plain key of 16 or 32 octets in hex"))
        elif column in _NUMBERS and text.isascii() and text.isdigit() and len(text) < 10:
            put(record, column, int(text))
        elif column in ("serverSystemTitle", "clientSystemTitle"):
            put(record, column, Given({column: text}).system_title(column))
        else:
            put(record, column, text)
    return record


def csv_table_rows(file: IO[str]) -> Iterator[Row]:
    """The meters of a CSV: of GXF where it has the column device_identification beside none of this system's names."""
    rows = cells(file)
    _, first = next(rows, (1, []))
    names = [name.strip() for name in first]
    if ID_COLUMN in names:
        yield from _each(rows, lambda row: table_record(_by_name(names, row)))
    else:
        columns = header_of(first, ignores=False).columns
        yield from _each(rows, lambda row: record_of(columns, row))


def _by_name(names: list[str], row: list[str]) -> dict[str, str]:
    if len(row) != len(names):
        raise InvalidField.secret("line", f"{len(row)} cells, and the header names {len(names)} columns")
    return dict(zip(names, row, strict=True))


def _each(rows: Iterator[tuple[int, list[str]]], make: Any) -> Iterator[Row]:
    for line, row in rows:
        try:
            yield line, make(row)
        except Problem as problem:
            yield line, problem
