"""A task that comes as lines: read, checked and spooled before the store hears of it."""

import asyncio
from collections.abc import AsyncIterator

from metercast.domain.meter import check_device_id
from metercast.domain.problem import InvalidField, Problem
from metercast.engine.import_formats import blocks
from metercast.engine.line_report import InvalidLines, LineError
from metercast.engine.spool import DeviceSpool
from metercast.engine.submission import BodyHash, SubmitHeader, in_utc
from metercast.engine.task_formats import TaskLines
from metercast.store.tasks import UnknownDevices

MAX_BAD_LINES = 10_000  # no more is read after so many
_BATCH = 10_000


class Intake:
    """One task, from its octets to ids in a spool. First `read_header`, then `hash_devices` or `spool_devices`."""

    def __init__(self, lines: TaskLines, chunks: AsyncIterator[bytes], spool: DeviceSpool) -> None:
        self.spool = spool
        self._lines = lines
        self._report = lines.report
        self._blocks = blocks(chunks)
        self._ids: list[str] = []  # read, and not yet hashed
        self._numbers: list[int] = []

    async def read_header(self) -> SubmitHeader:
        """The task's header, as soon as it is there."""
        while self._lines.header is None:
            if not await self._read():
                raise InvalidField.secret("body", "ends before the task's header is complete")
        return in_utc(self._lines.header)

    async def hash_devices(self, body_hash: BodyHash) -> None:
        """Reads the rest for its hash alone. Raises InvalidLines where a line is no device."""
        while True:
            body_hash.add(self._ids)
            self._ids, self._numbers = [], []
            if not await self._read():
                break
        self._report.check()

    async def spool_devices(self, body_hash: BodyHash, most: int) -> None:
        """Reads the rest into the spool. Raises InvalidLines, also for ids that stand twice, and InvalidField where
        there are none, or more than `most`."""
        reads = True
        while reads:
            reads = await self._read()
            if len(self._ids) >= _BATCH or not reads:
                await self._spool(body_hash)
            if len(self.spool) > most:
                raise InvalidField.secret("devices", f"more than {most}, the most that such a task takes")
            if self._report.count >= MAX_BAD_LINES:
                break
        self._report.check()
        if not len(self.spool):
            raise InvalidField.secret("devices", "none: they stand one a line below the header")

    def unknown(self, error: UnknownDevices) -> Problem:
        """What the store found, with the lines."""
        reason = "not registered: register it, or set allowUnknown"
        found = [LineError(self.spool.line_of(each), "deviceId", reason, each) for each in error.first]
        return InvalidLines("nothing was created", found, error.count)

    async def _read(self) -> bool:
        """Another block; False at the end of the body."""
        block = await anext(self._blocks, None)
        if block is None:
            return False
        ids, numbers = self._lines.read(*block)
        self._ids += ids
        self._numbers += numbers
        await asyncio.sleep(0)  # others want to be served meanwhile
        return True

    async def _spool(self, body_hash: BodyHash) -> None:
        ids, numbers = self._ids, self._numbers
        self._ids, self._numbers = [], []
        body_hash.add(ids)
        if not "".join(ids).isprintable():
            for number, device_id in zip(numbers, ids, strict=True):
                try:
                    check_device_id(device_id)
                except InvalidField as problem:
                    self._report.add(number, problem)
        repeats = await asyncio.to_thread(self.spool.add, ids, numbers, self._report.room)
        for index, earlier in repeats.first:
            self._report.add(numbers[index], InvalidField("deviceId", ids[index], f"stands in line {earlier} already"))
        self._report.add_more(repeats.count - len(repeats.first))
