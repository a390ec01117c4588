"""Any list of meters, as rows of records: what it is, what further tables add, and what all of them have."""

import io
from collections.abc import Iterator, Sequence
from typing import IO, Any, Final, Literal

from metercast.devicelists.gurux import DEVICE as GURUX_DEVICE
from metercast.devicelists.gurux import gurux_rows
from metercast.devicelists.gxf import gxf_request_rows
from metercast.devicelists.joining import Additions
from metercast.devicelists.records import SECRETS, Row, get, put
from metercast.devicelists.tables import csv_table_rows, header_of, record_of
from metercast.domain.problem import InvalidField, Problem
from metercast.engine.decoding import decode_any
from metercast.engine.import_formats import COLUMNS, MAX_LINE

Form = Literal["csv", "ndjson", "gurux", "gxf"]
_BEGINNING: Final = 16 * 1024
_GXF_REQUEST: Final = b"AddDeviceRequest"


def form_of(beginning: bytes) -> Form:
    """What a list is that begins so. InvalidField where it is XML of another kind."""
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{"):
        return "ndjson"
    if not start.startswith(b"<"):
        return "csv"
    if GURUX_DEVICE.encode() in beginning:
        return "gurux"
    if _GXF_REQUEST in beginning:
        return "gxf"
    raise InvalidField.secret("file", f"XML with neither {GURUX_DEVICE} nor {_GXF_REQUEST.decode()} at its beginning")


def peeked(file: io.BufferedReader) -> bytes:
    """The beginning, which is read again afterwards."""
    return file.peek(_BEGINNING)[:_BEGINNING]


def rows_of(
    file: io.BufferedReader, form: Form, additions: Sequence[Additions], defaults: dict[str, Any]
) -> Iterator[Row]:
    """Each meter with what `additions` tell of it and, where nothing does, what `defaults` say.

    InvalidField for what is wrong with the whole file.
    """
    count = 0
    for line, row in _plain_rows(file, form, defaults):
        count += 1
        if not isinstance(row, Problem):
            try:
                for each in additions:
                    each.add_to(row)
            except Problem as problem:
                yield line, problem
                continue
            _fill(row, defaults)
        yield line, row
    if not count:
        raise InvalidField.secret("file", "no meter in it")


def defaults_of(texts: dict[str, str]) -> dict[str, Any]:
    """A record of the columns of a CSV import, by their names. InvalidField where one is unknown, or a secret."""
    header = header_of(list(texts), ignores=False)
    for column in header.columns:
        if column in SECRETS:
            raise InvalidField.secret(column, "a secret stands in a table, not on a command line")
    return record_of(header.columns, list(texts.values()))


def table(file: IO[bytes]) -> Additions:
    """InvalidField where it will not do."""
    return Additions(io.TextIOWrapper(file, "utf-8-sig", newline=""))


def _plain_rows(file: io.BufferedReader, form: Form, defaults: dict[str, Any]) -> Iterator[Row]:
    if form == "gurux":
        return gurux_rows(file, has_profile="profile" in defaults)
    if form == "gxf" and peeked(file).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return gxf_request_rows(file)
    if form == "ndjson":
        return _ndjson_rows(file)
    return csv_table_rows(io.TextIOWrapper(file, "utf-8-sig", newline=""))


def _ndjson_rows(file: IO[bytes]) -> Iterator[Row]:
    number = 0
    while line := file.readline(MAX_LINE + 2):
        number += 1
        if len(line.rstrip(b"\r\n")) > MAX_LINE:
            raise InvalidField.secret(f"line {number}", f"longer than {MAX_LINE} octets")
        if not line.strip():
            continue
        try:
            record = decode_any(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except Problem as problem:
            yield number, problem
            continue
        yield number, record if isinstance(record, dict) else InvalidField.secret("record", "a JSON object is expected")


def _fill(record: dict[str, Any], defaults: dict[str, Any]) -> None:
    for column in COLUMNS:
        if get(record, column) is None:
            put(record, column, get(defaults, column))
