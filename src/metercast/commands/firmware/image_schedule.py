"""The timed activation of an image: a schedule that runs the activation's script (catalogue 1.8, 1.10)."""

from datetime import datetime
from typing import NamedTuple

from metercast.commands.contract import MeterSession, StepFailed
from metercast.commands.steps import read
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.datetimes import ANY, CosemDate, CosemTime
from metercast.dlms.logical_name import LogicalName
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Dates

CLASS_ID = 22
EXECUTED_SCRIPT, EXECUTION_TIME = 2, 4


class ExecutionTime(NamedTuple):
    """The meter's local time, to the second."""

    time: CosemTime
    date: CosemDate

    @classmethod
    def of(cls, moment: datetime) -> "ExecutionTime":
        """`moment` is in the meter's zone."""
        time = CosemTime(moment.hour, moment.minute, moment.second, 0)
        return cls(time, CosemDate(moment.year, moment.month, moment.day, ANY))

    @classmethod
    def decode(cls, data: Data) -> "ExecutionTime":
        time, date = data.elements(2)
        return cls(CosemTime.decode(time.octet_string(4)), CosemDate.decode(date.octet_string(5)))

    def encode(self, dates: Dates) -> Data:
        return Data.structure([Data(dates.time, self.time.encode()), Data(dates.date, self.date.encode())])

    def same_as(self, other: "ExecutionTime") -> bool:
        return self.time.same_as(other.time) and self.date.same_as(other.date)

    def __str__(self) -> str:
        return f"{self.date}T{self.time}"


class ScheduleObject(NamedTuple):
    logical_name: LogicalName

    def attribute(self, index: int) -> CosemAttribute:
        return CosemAttribute(CLASS_ID, self.logical_name, index)

    async def check_script(self, session: MeterSession, scripts: LogicalName) -> None:
        """StepFailed where the schedule runs something else than a script of that table."""
        what = self.attribute(EXECUTED_SCRIPT)
        table = await read(session, what, lambda data: LogicalName(data.elements(2)[0].octet_string(6)))
        if table != scripts:
            detail = f"{what} runs a script of {table}, not of {scripts}: nothing was scheduled"
            raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail)

    async def times(self, session: MeterSession) -> list[ExecutionTime]:
        return await read(
            session,
            self.attribute(EXECUTION_TIME),
            lambda data: [ExecutionTime.decode(each) for each in data.elements()],
        )

    async def schedule(self, session: MeterSession, wanted: ExecutionTime) -> bool:
        """Writes the one time and reads it back; False where it was planned already."""
        planned = await self.times(session)
        if len(planned) == 1 and planned[0].same_as(wanted):
            return False
        what = self.attribute(EXECUTION_TIME)
        await session.set(what, Data.array([wanted.encode(session.profile.dates)]))
        planned = await self.times(session)
        if len(planned) != 1 or not planned[0].same_as(wanted):
            seen = ", ".join(map(str, planned)) or "none"
            raise StepFailed(ErrorWord.VERIFICATION_FAILED, f"read-back of {what}: {seen}, not {wanted}")
        return True
