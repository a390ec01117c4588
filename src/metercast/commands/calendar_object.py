"""The activity calendar of a meter (class 20, catalogue 1.1): its attributes, read as tables."""

from typing import NamedTuple

from metercast.commands.activation import decode_activation
from metercast.commands.calendar_codec import (
    Tables,
    decode_days,
    decode_name,
    decode_seasons,
    decode_weeks,
)
from metercast.commands.contract import MeterSession
from metercast.commands.parameters import chosen
from metercast.commands.steps import read
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.logical_name import LogicalName

CLASS_ID = 20
ACTIVE = 2
PASSIVE = 6
ACTIVATION_TIME = 10
ACTIVATE_PASSIVE_CALENDAR = 1

# Attribute 2 or 6 and the three that follow it.
_DECODERS = (decode_name, decode_seasons, decode_weeks, decode_days)


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
        name = await read(session, self.attribute(first), decode_name)
        seasons = await read(session, self.attribute(first + 1), decode_seasons)
        weeks = await read(session, self.attribute(first + 2), decode_weeks)
        return Tables(name, seasons, weeks, await read(session, self.attribute(first + 3), decode_days))

    async def find_tables(self, session: MeterSession, first: int, wanted: Tables) -> bool:
        """Whether the four attributes mean `wanted`; stops reading at the first that does not."""
        for offset, decode in enumerate(_DECODERS):
            if await read(session, self.attribute(first + offset), decode) != wanted[offset]:
                return False
        return True

    async def read_armed(self, session: MeterSession) -> CosemDateTime | None:
        """The time at which the meter will activate its passive calendar by itself, or None."""
        return await read(session, self.attribute(ACTIVATION_TIME), decode_activation)
