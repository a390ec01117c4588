"""A task as lines, NDJSON or CSV: its header first, then a device a line. From octets to ids, one block at a time."""

import csv
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from metercast.domain.meter import check_device_id
from metercast.domain.problem import InvalidField, Problem
from metercast.domain.task import DeviceId
from metercast.engine.decoding import Malformed, convert, decode, decode_any, preview
from metercast.engine.import_formats import text_of
from metercast.engine.line_report import LineReport
from metercast.engine.submission import SubmitHeader

DEVICE_COLUMN = "deviceId"
HEADER_COLUMNS = tuple(field.encode_name for field in msgspec.structs.fields(SubmitHeader))

_JSON_COLUMNS = frozenset({"commandParams", "retry"})
_BOM = b"\xef\xbb\xbf"


class DeviceLine(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    device_id: DeviceId


class TaskLines(ABC):
    """Reads blocks of whole lines. `header` is None until its lines were there. Blank lines are left out.

    Each id that `read` returns is well-formed JSON text or cell of 1 to 128 characters: what is not goes into
    `report`. Raises a Problem for a header that will not do.
    """

    def __init__(self) -> None:
        self.header: SubmitHeader | None = None
        self.report = LineReport("nothing was created")

    def read(self, number: int, block: bytes) -> tuple[list[str], list[int]]:
        """The device ids in the block, whose first line has this number, and the lines they stand on."""
        ids: list[str] = []
        numbers: list[int] = []
        read_device = self._device
        for number, line in enumerate(block.split(b"\n"), number):  # noqa: B020
            if not line or line.isspace():
                continue
            if self.header is None:
                self._read_header(number, line.removeprefix(_BOM) if number == 1 else line)
                continue
            try:
                device_id = read_device(line)
            except (msgspec.MsgspecError, ValueError, csv.Error, RecursionError, Problem):
                self._reject(number, line)
            else:
                ids.append(device_id)
                numbers.append(number)
        return ids, numbers

    @abstractmethod
    def _read_header(self, number: int, line: bytes) -> None:
        """Sets `header` with the last of its lines."""
        ...

    @abstractmethod
    def _device(self, line: bytes) -> str:
        """The id, quickly; any error where the line will not do."""
        ...

    @abstractmethod
    def _why_not(self, number: int, line: bytes) -> Problem:
        """What is wrong with a line that `_device` did not take, in words."""
        ...

    def _reject(self, number: int, line: bytes) -> None:
        if self.report.room:
            self.report.add(number, self._why_not(number, line))
        else:
            self.report.add_more(1)


class NdjsonTask(TaskLines):
    """The first line is the task without `devices`, each other one a device: its id in an object, or alone."""

    def __init__(self) -> None:
        super().__init__()
        self._decode = msgspec.json.Decoder(DeviceLine | DeviceId).decode

    def _read_header(self, number: int, line: bytes) -> None:
        try:
            self.header = decode(line, SubmitHeader)
        except Malformed as error:
            raise Malformed(f"line {number}, the task's header: {error.detail.replace('the body', 'it')}") from None
        except InvalidField as error:
            if error.path == "devices":
                raise InvalidField.secret("devices", "unknown in the header: they stand one a line below it") from None
            raise

    def _device(self, line: bytes) -> str:
        device = self._decode(line)
        return device if isinstance(device, str) else device.device_id

    def _why_not(self, number: int, line: bytes) -> Problem:
        try:
            record = decode_any(line)
            if isinstance(record, dict):
                convert(record, DeviceLine)
            elif isinstance(record, str):
                check_device_id(record)
            return InvalidField("line", preview(record), 'neither {"deviceId": "..."} nor "..."')
        except Malformed as error:
            return InvalidField.secret("line", error.detail.removeprefix("the body is ").replace("the body", "it"))
        except Problem as problem:
            return problem


class CsvTask(TaskLines):
    """A line of header columns and one of their values; then the column deviceId, and an id a line.

    Cells that are empty are as if left out, so a spreadsheet may fill every line up to the same number of columns.
    """

    def __init__(self) -> None:
        super().__init__()
        self._columns: list[str] | None = None
        self._asked: SubmitHeader | None = None

    def _read_header(self, number: int, line: bytes) -> None:
        try:
            cells = _cells(text_of(number, line))
        except csv.Error:
            raise InvalidField.secret(f"line {number}", "quotes that do not match") from None
        if self._columns is None:
            self._columns = _header_columns(cells)
        elif self._asked is None:
            self._asked = _header(self._columns, cells)
        elif cells == [DEVICE_COLUMN]:
            self.header = self._asked
        else:
            raise InvalidField(f"line {number}", ",".join(cells), f"the column {DEVICE_COLUMN} is expected, alone")

    def _device(self, line: bytes) -> str:
        text = line.decode()
        if '"' in text or "," in text:
            (text,) = _cells(text.rstrip("\r"))
        else:
            text = text.rstrip("\r")
        if not 0 < len(text) <= 128:
            check_device_id(text)
        return text

    def _why_not(self, number: int, line: bytes) -> Problem:
        try:
            cells = _cells(text_of(number, line))
            if len(cells) > 1:
                return InvalidField.secret("line", f"{len(cells)} cells, and {DEVICE_COLUMN} is the only column")
            check_device_id("".join(cells), DEVICE_COLUMN)
        except csv.Error:
            pass
        except InvalidField as problem:
            return InvalidField.secret("line", "not UTF-8") if problem.path.startswith("line ") else problem
        return InvalidField.secret("line", "quotes that do not match")


def _cells(text: str) -> list[str]:
    """The cells but for empty ones at the end. Raises csv.Error."""
    try:
        (cells,) = csv.reader([text], strict=True)
    except ValueError as error:
        raise csv.Error(str(error)) from None
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _header_columns(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if name not in HEADER_COLUMNS:
            raise InvalidField("header", preview(name), f"no such column; known: {', '.join(HEADER_COLUMNS)}")
        if names.count(name) > 1:
            raise InvalidField("header", name, "the column stands twice")
    return names


def _header(columns: list[str], cells: list[str]) -> SubmitHeader:
    if len(cells) > len(columns):
        raise InvalidField.secret("header", f"{len(cells)} values, and there are {len(columns)} columns")
    # Cells that are empty at the end may be missing here.
    record = {name: _value(name, cell) for name, cell in zip(columns, cells, strict=False) if cell}
    return convert(record, SubmitHeader)


def _value(name: str, cell: str) -> Any:
    if name in _JSON_COLUMNS:
        try:
            return decode_any(cell.encode())
        except Malformed as error:
            raise InvalidField.secret(name, error.detail.replace("the body", "the cell")) from None
    if name == "priority" and cell.isascii() and cell.isdigit() and len(cell) < 10:
        return int(cell)
    if name == "allowUnknown":
        return {"true": True, "false": False}.get(cell.lower(), cell)
    return cell
