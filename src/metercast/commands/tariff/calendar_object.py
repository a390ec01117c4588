"""The activity calendar of a meter (class 20, catalogue 1.1): its attributes, read as tables."""

from collections.abc import Sequence
from typing import NamedTuple

from metercast.commands.contract import MeterSession
from metercast.commands.parameters import chosen
from metercast.commands.steps import decoded, read, read_all
from metercast.commands.tariff.activation import decode_activation
from metercast.commands.tariff.calendar_codec import (
    DayRow,
    SeasonRow,
    Tables,
    WeekRow,
    decode_days,
    decode_name,
    decode_seasons,
    decode_weeks,
)
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.logical_name import LogicalName

CLASS_ID = 20
ACTIVE = 2
PASSIVE = 6
ACTIVATION_TIME = 10
ACTIVATE_PASSIVE_CALENDAR = 1


class CalendarObject(NamedTuple):
    logical_name: LogicalName

    @classmethod
    def of(cls, session: MeterSession, obis: str | None) -> "CalendarObject":
        """The one that the task names, or the profile's."""
        return cls(chosen(obis, session.profile.objects.activity_calendar))

    def attribute(self, index: int) -> CosemAttribute:
        return CosemAttribute(CLASS_ID, self.logical_name, index)

    @property
    def activate(self) -> CosemMethod:
        return CosemMethod(CLASS_ID, self.logical_name, ACTIVATE_PASSIVE_CALENDAR)

    async def read_tables(self, session: MeterSession, first: int) -> Tables:
        """The four attributes from `first` (ACTIVE or PASSIVE) on."""
        return self.decode_tables(await read_all(session, self.tables(first)), first)

    async def find_tables(self, session: MeterSession, first: int, wanted: Tables) -> bool:
        """Whether the four attributes mean `wanted`; the tables are read only where the name is the wanted one."""
        if await read(session, self.attribute(first), decode_name) != wanted.name:
            return False
        rest = await read_all(session, self.tables(first)[1:])
        return self._decode_rest(rest, first) == (wanted.seasons, wanted.weeks, wanted.days)

    def tables(self, first: int) -> list[CosemAttribute]:
        return [self.attribute(first + offset) for offset in range(4)]

    def decode_tables(self, values: Sequence[Data], first: int) -> Tables:
        """From the values of `tables(first)`; StepFailed(InvalidResponse) where one is not what its class says."""
        name = decoded(values[0], decode_name, self.attribute(first))
        return Tables(name, *self._decode_rest(values[1:], first))

    def _decode_rest(
        self, values: Sequence[Data], first: int
    ) -> tuple[tuple[SeasonRow, ...], tuple[WeekRow, ...], tuple[DayRow, ...]]:
        seasons, weeks, days = values
        return (
            decoded(seasons, decode_seasons, self.attribute(first + 1)),
            decoded(weeks, decode_weeks, self.attribute(first + 2)),
            decoded(days, decode_days, self.attribute(first + 3)),
        )

    async def read_armed(self, session: MeterSession) -> CosemDateTime | None:
        """The time at which the meter will activate its passive calendar by itself, or None."""
        return await read(session, self.attribute(ACTIVATION_TIME), decode_activation)
