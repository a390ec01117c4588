"""What commands print: JSON for programs, tables and plain lines for people."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

Json = dict[str, Any]

ENDINGS = ("success", "failed", "cancelled")


def write(text: str = "") -> None:
    sys.stdout.write(text + "\n")


def write_json(value: Any) -> None:
    """One document, indented where a person reads it, else on one line."""
    if not sys.stdout.isatty():
        write_line(value)
        return
    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_line(value: Any) -> None:
    """One document on one line, wherever it goes."""
    write(msgspec.json.encode(value).decode())


def shown(value: Any) -> str:
    """One cell: a dash for what there is not, and nothing that a terminal would obey."""
    if value is None or value == "":
        return "-"
    text = value if isinstance(value, str) else str(value)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def write_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """On a terminal a table of its width, else aligned columns that are never cut."""
    cells = [[shown(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for line in aligned([list(headings), *cells]):
            write(line)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines with columns of equal width, two blanks apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def counts_text(counts: Json) -> str:
    """As in `200 devices: 194 success, 6 failed`."""
    number = counts["total"]
    return f"{number} device{'' if number == 1 else 's'}: {states_text(counts)}"


def states_text(counts: Json) -> str:
    """As in `194 success, 6 failed`; states without a device are left out."""
    return ", ".join(f"{counts[name]} {name}" for name in (*ENDINGS, "sent", "pending") if counts[name])


def ended(counts: Json) -> int:
    """How many devices are final."""
    return sum(int(counts[name]) for name in ENDINGS)


def errors_text(errors: Iterable[Json]) -> str:
    """As in `Expired 2, Timeout 1`; what waits for another attempt is marked."""
    return ", ".join(
        f"{each['error']} {each['devices']}{'' if each['commandStatus'] == 'FAILED' else ' (waiting)'}"
        for each in errors
    )


def write_task(task: Json, errors: Sequence[Json]) -> None:
    """A task for people: one fact a line."""
    facts = [
        ("task", task["taskId"]),
        ("command", f"{task['commandType']} ({task['commandId']})"),
        ("status", task["status"] + (f", outcome {task['outcome']}" if task["outcome"] else "")),
        ("due", task["scheduledAt"]),
        ("expires", task["expiresAt"]),
        ("created", task["createdAt"] + (f" by {task['requestedBy']}" if task["requestedBy"] else "")),
        ("updated", task["updatedAt"]),
        ("parent", task["parentTaskId"]),
        ("follow-up", task["followUpTaskId"] or (task["followUpAt"] and f"due {task['followUpAt']}")),
        ("counts", counts_text(task["counts"])),
    ]
    for name, value in facts:
        if value is not None:
            write(f"{name:<11} {shown(value)}")
    for number, line in enumerate(errors):
        waits = "" if line["commandStatus"] == "FAILED" else ", waiting for another attempt"
        write(f"{'errors' if number == 0 else '':<11} {line['error']}: {line['devices']}{waits}")
