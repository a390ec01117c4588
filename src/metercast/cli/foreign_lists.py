"""Meters out of lists that other programs wrote, as lines of the device import."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from metercast.cli.exits import USAGE, CommandFailed
from metercast.cli.importing import Line
from metercast.cli.output import Json
from metercast.devicelists.joining import Additions
from metercast.devicelists.reading import Form, defaults_of, form_of, peeked, rows_of, table
from metercast.domain.problem import InvalidField, Problem
from metercast.engine.line_report import problem_reason

_MAX_NAMED = 20


class Converted(NamedTuple):
    """The good meters as lines, and what is wrong with the others. `notes` are for people."""

    lines: list[Line]
    bad: list[Json]
    notes: list[str]


def converted(name: str, form: Form | None, tables: Sequence[str], given: dict[str, str]) -> Converted:
    """Reads the whole list. CommandFailed where it, a further table or a default will not do."""
    try:
        defaults = defaults_of(given) if given else {}
    except InvalidField as problem:
        raise CommandFailed(f"--set: {problem.detail}", USAGE) from None
    with _opened(name) as file:
        notes: list[str] = []
        additions = [read_table(each, notes) for each in tables]
        lines, bad = _lines(file, name, form, additions, defaults)
        for table_name, each in zip(tables, additions, strict=True):
            _check_used(table_name, each)
        return Converted(lines, bad, notes)


def _lines(
    file: io.BufferedReader, name: str, form: Form | None, additions: list[Additions], defaults: dict[str, Any]
) -> tuple[list[Line], list[Json]]:
    lines: list[Line] = []
    bad: list[Json] = []
    try:
        for number, row in rows_of(file, form or form_of(peeked(file)), additions, defaults):
            if isinstance(row, Problem):
                bad.append(_bad(number, row))
            else:
                lines.append((number, msgspec.json.encode(row) + b"\n"))
    except InvalidField as problem:
        raise CommandFailed(f"{name}: {problem.detail}") from None
    return lines, bad


def read_table(name: str, notes: list[str]) -> Additions:
    """A CSV that tells of meters, read whole. Notes what is not taken over; CommandFailed where it will not do."""
    try:
        with _opened(name) as file:
            found = table(file)
    except InvalidField as problem:
        raise CommandFailed(f"{name}: {problem.detail}") from None
    if found.ignored:
        notes.append(not_taken(name, found.ignored))
    return found


def not_taken(name: str, columns: Sequence[str]) -> str:
    return f"{name}: columns that are not taken over: {', '.join(columns)}"


def _check_used(name: str, additions: Additions) -> None:
    unused = additions.unused
    if unused:
        named = ", ".join(f"{identity} (line {line})" for line, identity in unused[:_MAX_NAMED])
        more = f" and {len(unused) - _MAX_NAMED} more" if len(unused) > _MAX_NAMED else ""
        raise CommandFailed(f"{name}: nothing was imported: no meter in the list for {named}{more}")


@contextmanager
def _opened(name: str) -> Iterator[io.BufferedReader]:
    try:
        if name == "-":
            assert isinstance(sys.stdin.buffer, io.BufferedReader)
            yield sys.stdin.buffer
        else:
            with Path(name).open("rb") as file:
                yield file
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandFailed(f"cannot read {name}: {error.strerror}", USAGE) from None


def _bad(number: int, problem: Problem) -> Json:
    if not isinstance(problem, InvalidField):
        return {"line": number, "path": "line", "reason": problem.detail}
    found: Json = {"line": number, "path": problem.path, "reason": problem_reason(problem)}
    if problem.received is not None:
        found["received"] = problem.received
    return found
