"""The import of many meters: all of them or none, with a report of the lines that will not do."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from metercast.domain.meter import check_device_id
from metercast.domain.problem import InvalidField, Problem
from metercast.engine.apikeys import Caller
from metercast.engine.decoding import convert
from metercast.engine.import_formats import Row
from metercast.engine.line_report import LineReport
from metercast.engine.meters import Imported, MeterRequest, Meters, shows_no_secret
from metercast.engine.secret_requests import SecretsRequest
from metercast.store.devices import MeterWrite

_BATCH = 500


class MeterImport:
    """One import, from its lines to its report. What it keeps is bounded by `limit` meters.

    `form` is what each line holds beside the deviceId: a record, or secrets alone for a meter that is there already.
    """

    def __init__(self, meters: Meters, limit: int, form: type[MeterRequest | SecretsRequest] = MeterRequest) -> None:
        self._meters = meters
        self._limit = limit
        self._form = form
        self._lines_of: dict[str, int] = {}
        self._writes: list[MeterWrite] = []
        self._seen: dict[str, datetime] = {}
        self._report = LineReport("nothing was imported")

    async def run(self, rows: AsyncIterator[Row], caller: Caller) -> Imported:
        """Reads every line first. Raises InvalidLines, and InvalidField for what is wrong with the whole."""
        batch: list[tuple[int, str, MeterRequest | SecretsRequest]] = []
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
        self._report.check()
        if not self._writes:
            raise InvalidField.secret("body", "no meter in it")
        return await self._meters.put_all(self._writes, self._seen, caller)

    def _read(self, number: int, row: dict[str, Any] | Problem) -> tuple[str, MeterRequest | SecretsRequest]:
        if isinstance(row, Problem):
            raise row
        device_id = row.pop("deviceId", None)
        if not isinstance(device_id, str):
            raise InvalidField.secret("deviceId", "required, a text")
        check_device_id(device_id)
        earlier = self._lines_of.setdefault(device_id, number)
        if earlier != number:
            raise InvalidField("deviceId", device_id, f"stands in line {earlier} already")
        return device_id, convert(row, self._form, shows=shows_no_secret)

    async def _prepare(self, batch: list[tuple[int, str, MeterRequest | SecretsRequest]]) -> None:
        stored = await self._meters.find([device_id for _, device_id, _ in batch])
        for number, device_id, request in batch:
            known = stored.get(device_id)
            if known is not None:
                self._seen[device_id] = known.updated_at
            try:
                if isinstance(request, SecretsRequest):
                    request = request.onto(device_id, known)
                write = self._meters.write(device_id, request, known)
            except Problem as problem:
                self._reject(number, problem)
                continue
            if not self._report.count:
                self._writes.append(write)
        await asyncio.sleep(0)  # others want to be served meanwhile

    def _reject(self, number: int, problem: Problem) -> None:
        self._writes.clear()
        self._report.add(number, problem)
