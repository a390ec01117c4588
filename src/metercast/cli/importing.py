"""The import of a file of any size, in chunks that the server takes whole or not at all."""

import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from metercast.cli.exits import FAILED, NOT_REACHED, USAGE, CommandFailed
from metercast.cli.output import Json
from metercast.client import CSV, NDJSON, Api, NotReached, Refused

DEFAULT_CHUNK = 5000
CHUNK_OCTETS = 8 << 20
MAX_LINE = 64 << 10
MAX_REPORTED = 1000

Send = Callable[[bytes, str], Awaitable[Json]]  # lines and their media type, in one request
Line = tuple[int, bytes]  # its number in the file, from 1, and the line with its end


@dataclass
class Report:
    """What became of the lines. `bad` are the first of `bad_lines`; `left_out` were good, in a refused chunk."""

    created: int = 0
    updated: int = 0
    bad_lines: int = 0
    left_out: int = 0
    bad: list[Json] = field(default_factory=list)

    def add(self, bad: list[Json], count: int) -> None:
        """`bad` are the first of `count`."""
        self.bad_lines += count
        self.bad += bad[: MAX_REPORTED - len(self.bad)]

    def as_dict(self) -> dict[str, Any]:
        return {
            "created": self.created,
            "updated": self.updated,
            "badLines": self.bad_lines,
            "leftOut": self.left_out,
            "errors": self.bad,
        }


@contextmanager
def opened_lines(name: str, form: Literal["csv", "ndjson"] | None) -> Iterator[tuple[Iterator[Line], str]]:
    """The lines of the file, or of standard input, and the media type: NDJSON begins with a brace."""
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            lines = _numbered(file)
            first = next(lines, None)
            if first is None:
                raise CommandFailed(f"{name} holds no line", USAGE)
            if form is None:
                form = "ndjson" if first[1].lstrip(b"\xef\xbb\xbf \t").startswith(b"{") else "csv"
            yield _again(first, lines), CSV if form == "csv" else NDJSON
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandFailed(f"cannot read {name}: {error.strerror}", USAGE) from None


def is_foreign(name: str) -> bool:
    """Whether the file is a list of another system: XML, or a CSV of GXF. Standard input is not looked into."""
    if name == "-":
        return False
    try:
        with Path(name).open("rb") as file:
            beginning = file.readline(MAX_LINE).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError:  # told where it is opened to be read
        return False
    return beginning.startswith(b"<") or b"device_identification" in beginning


async def import_foreign(
    api: Api,
    name: str,
    form: Literal["csv", "ndjson", "gurux", "gxf"] | None,
    tables: Sequence[str],
    defaults: dict[str, str],
    chunk: int,
    skips_bad: bool,
) -> Report:
    """Imports what becomes of another system's list. Where a meter of it will not do, none is imported, unless
    `skips_bad`."""
    from metercast.cli.foreign_lists import converted

    found = converted(name, form, tables, defaults)
    for note in found.notes:
        sys.stderr.write(note + "\n")
    report = Report()
    if found.bad and not skips_bad:
        report.left_out = len(found.lines)
    elif found.lines:
        report = await import_lines(api.import_devices, iter(found.lines), NDJSON, chunk=chunk, skips_bad=skips_bad)
    report.add(found.bad, len(found.bad))
    return report


def _numbered(file: IO[bytes]) -> Iterator[Line]:
    """Lines that are not blank."""
    number = 0
    while line := file.readline(MAX_LINE + 2):
        number += 1
        if len(line.rstrip(b"\r\n")) > MAX_LINE:
            raise CommandFailed(f"line {number} is longer than {MAX_LINE} octets")
        if line.strip():
            yield number, line if line.endswith(b"\n") else line + b"\n"


def _again(first: Line, rest: Iterator[Line]) -> Iterator[Line]:
    yield first
    yield from rest


async def import_lines(send: Send, lines: Iterator[Line], media_type: str, *, chunk: int, skips_bad: bool) -> Report:
    """Imports chunk after chunk; one that is refused for its lines keeps none of the others back."""
    report = Report()
    header = [next(lines)] if media_type == CSV else []
    sent_to = 0
    for part in _chunks(lines, chunk):
        try:
            await _import_chunk(send, header, part, media_type, report, skips_bad=skips_bad)
        except (NotReached, Refused) as error:
            if not sent_to:
                raise
            code = NOT_REACHED if isinstance(error, NotReached) else FAILED
            raise CommandFailed(f"{error}; the lines up to {sent_to} were dealt with before that", code) from None
        sent_to = part[-1][0]
    if not sent_to:
        raise CommandFailed("there is no meter in it")
    return report


async def _import_chunk(
    send: Send, header: list[Line], part: list[Line], media_type: str, report: Report, *, skips_bad: bool
) -> None:
    bad = _not_text(part)
    count = len(bad)
    while True:
        if not bad and part:
            try:
                done = await send(b"".join(line for _, line in header + part), media_type)
            except Refused as error:
                bad, count = _bad_lines(error, header + part), int(error.document.get("errorCount") or 1)
            else:
                report.created += done["created"]
                report.updated += done["updated"]
                return
        if not skips_bad:
            report.add(bad, count)
            report.left_out += len(part) - count
            return
        report.add(bad, len(bad))
        numbers = {each["line"] for each in bad}
        part = [line for line in part if line[0] not in numbers]
        if not part:
            return
        bad = []


def _not_text(part: list[Line]) -> list[Json]:
    bad = []
    for number, line in part:
        try:
            line.decode()
        except UnicodeDecodeError:
            bad.append({"line": number, "path": "line", "reason": "not UTF-8"})
    return bad


def _bad_lines(error: Refused, sent: list[Line]) -> list[Json]:
    """The server's errors with the file's line numbers for those of the request. Raises `error` where it is none of
    single lines."""
    found = [each for each in error.document.get("errors") or () if isinstance(each, dict) and "line" in each]
    if not found:
        raise error

    def number(line: int) -> int:
        return sent[line - 1][0]

    def renumbered(match: re.Match[str]) -> str:
        return f"line {number(int(match[1]))}"

    return [
        {**each, "line": number(each["line"]), "reason": re.sub(r"\bline (\d+)\b", renumbered, each["reason"])}
        for each in found
    ]


def _chunks(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    part: list[Line] = []
    octets = 0
    for line in lines:
        part.append(line)
        octets += len(line[1])
        if len(part) == size or octets >= CHUNK_OCTETS:
            yield part
            part, octets = [], 0
    if part:
        yield part
