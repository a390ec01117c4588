"""A vendor's key file for meters that are registered already: their secrets are replaced, and nothing else."""

import sys
from typing import Any

import msgspec

from metercast.cli.exits import CommandFailed
from metercast.cli.foreign_lists import not_taken, read_table
from metercast.cli.importing import Line, Report, import_lines
from metercast.cli.output import Json
from metercast.client import NDJSON, Api
from metercast.devicelists.joining import Additions
from metercast.devicelists.records import SECRETS, get, put

_PAGE = 1000


async def import_keys(api: Api, name: str, chunk: int, skips_bad: bool) -> Report:
    """Where a meter of the file is not known none is changed, unless `skips_bad`. CommandFailed where the file will not
    do."""
    notes: list[str] = []
    table = read_table(name, notes)
    if not any(column in SECRETS for column in table.columns):
        raise CommandFailed(f"{name}: header: no column holds a secret")
    others = [column for column in table.columns if column not in SECRETS and column != table.identity]
    if others:
        notes.append(not_taken(name, others))
    for note in notes:
        sys.stderr.write(note + "\n")
    lines, bad = _lines(table, await _device_ids(api, table))
    report = Report()
    if bad and not skips_bad:
        report.left_out = len(lines)
    elif lines:
        report = await import_lines(api.import_secrets, iter(lines), NDJSON, chunk=chunk, skips_bad=skips_bad)
    elif not bad:
        raise CommandFailed(f"{name}: there is no meter in it")
    report.add(bad, len(bad))
    return report


async def _device_ids(api: Api, table: Additions) -> dict[str, list[str]]:
    """The registered meters of each row, two at most. Their list is asked for only where the table does not name them
    as it does, and what is kept is bounded by the table."""
    found: dict[str, list[str]] = {key: [] for _, key, _ in table.rows}
    if table.identity == "deviceId":
        return {key: [key] for key in found}
    async for device in api.devices({"limit": _PAGE}):
        key = table.key_of(device)
        if key in found and len(found[key]) < 2:
            found[key].append(device["deviceId"])
    return found


def _lines(table: Additions, device_ids: dict[str, list[str]]) -> tuple[list[Line], list[Json]]:
    lines: list[Line] = []
    bad: list[Json] = []
    for number, key, told in table.rows:
        row = dict[str, Any]()
        for column in SECRETS:
            put(row, column, get(told, column))
        if not row:
            bad.append({"line": number, "path": "line", "reason": "no secret in it"})
        elif not device_ids[key]:
            bad.append(_unfit(number, table.identity, key, "no registered meter has it"))
        elif len(device_ids[key]) > 1:
            bad.append(_unfit(number, table.identity, key, "more than one registered meter has it"))
        else:
            row["deviceId"] = device_ids[key][0]
            lines.append((number, msgspec.json.encode(row) + b"\n"))
    return lines, bad


def _unfit(number: int, path: str, key: str, reason: str) -> Json:
    return {"line": number, "path": path, "reason": reason, "received": key[:100]}
