"""The import of many meters: all of them or none, with a report of the lines that will not do."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from metercast.domain.meter import check_device_id
from metercast.domain.problem import InvalidField, Problem
from metercast.engine.apikeys import Caller
from metercast.engine.decoding import convert
from metercast.engine.import_formats import Row
from metercast.engine.meters import Imported, MeterRequest, Meters, shows_no_secret
from metercast.store.devices import MeterWrite

MAX_ERRORS = 100
_BATCH = 500


class LineError(msgspec.Struct, frozen=True):
    """One bad line. `received` is None where it could be a secret."""

    line: int
    path: str
    reason: str
    received: str | None = None


class ImportRejected(Problem):
    """Nothing was imported. `errors` are the first of `count`."""

    status = 422
    title = "Invalid lines"

    def __init__(self, errors: list[LineError], count: int) -> None:
        first = errors[0]
        more = f"; {count} lines in all" if count > 1 else ""
        super().__init__(f"nothing was imported: line {first.line}: {first.path}: {first.reason}{more}")
        self.errors = errors
        self.count = count


class MeterImport:
    """One import, from its lines to its report. What it keeps is bounded by `limit` meters."""

    def __init__(self, meters: Meters, limit: int) -> None:
        self._meters = meters
        self._limit = limit
        self._lines_of: dict[str, int] = {}
        self._writes: list[MeterWrite] = []
        self._seen: dict[str, datetime] = {}
        self._errors: list[LineError] = []
        self._bad = 0

    async def run(self, rows: AsyncIterator[Row], caller: Caller) -> Imported:
        """Reads every line first. Raises ImportRejected, and InvalidField for what is wrong with the whole."""
        batch: list[tuple[int, str, MeterRequest]] = []
        async for number, row in rows:
            try:
                batch.append((number, *self._read(number, row)))
            except Problem as problem:
                self._reject(number, problem)
            if len(self._lines_of) > self._limit:
                raise InvalidField.secret("body", f"more than {self._limit} meters: import them in parts")
            if len(batch) == _BATCH:
                await self._prepare(batch)
                batch = []
        await self._prepare(batch)
        if self._errors:
            raise ImportRejected(sorted(self._errors, key=lambda error: error.line), self._bad)
        if not self._writes:
            raise InvalidField.secret("body", "no meter in it")
        return await self._meters.put_all(self._writes, self._seen, caller)

    def _read(self, number: int, row: dict[str, Any] | Problem) -> tuple[str, MeterRequest]:
        if isinstance(row, Problem):
            raise row
        device_id = row.pop("deviceId", None)
        if not isinstance(device_id, str):
            raise InvalidField.secret("deviceId", "required, a text")
        check_device_id(device_id)
        earlier = self._lines_of.setdefault(device_id, number)
        if earlier != number:
            raise InvalidField("deviceId", device_id, f"stands in line {earlier} already")
        return device_id, convert(row, MeterRequest, shows=shows_no_secret)

    async def _prepare(self, batch: list[tuple[int, str, MeterRequest]]) -> None:
        stored = await self._meters.find([device_id for _, device_id, _ in batch])
        for number, device_id, request in batch:
            known = stored.get(device_id)
            if known is not None:
                self._seen[device_id] = known.updated_at
            try:
                write = self._meters.write(device_id, request, known)
            except Problem as problem:
                self._reject(number, problem)
                continue
            if not self._errors:
                self._writes.append(write)
        await asyncio.sleep(0)  # others want to be served meanwhile

    def _reject(self, number: int, problem: Problem) -> None:
        self._writes.clear()
        self._bad += 1
        if len(self._errors) == MAX_ERRORS:
            return
        if isinstance(problem, InvalidField):
            self._errors.append(LineError(number, problem.path, problem_reason(problem), problem.received))
        else:
            self._errors.append(LineError(number, "line", problem.detail))


def problem_reason(problem: InvalidField) -> str:
    """Why, without the path and the value that `detail` names too."""
    reason = problem.detail.removeprefix(f"{problem.path}: ")
    return reason.removesuffix(f"; received {problem.received}")
