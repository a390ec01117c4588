"""SET_SPECIAL_DAYS: the special days table, replaced or merged, and read back (class 11, catalogue 1.2).

It takes effect at once: there is no passive table. What stands there already is not written again.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import msgspec

from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.date_text import parse_date
from metercast.commands.parameters import ROOT, ProfileObis, check_obis, chosen, object_of, require
from metercast.commands.steps import read
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import CosemDate
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import Outcome
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord

CLASS_ID: Final = 11
ENTRIES = 2
INSERT, DELETE = 1, 2

Index = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


class SpecialDay(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`date` is as 2026-12-25, *-12-25 for every year, or *-05-last."""

    index: Index
    date: str
    day_id: Annotated[int, msgspec.Meta(ge=0, le=255)]


class SetSpecialDays(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    entries: Annotated[list[SpecialDay], msgspec.Meta(max_length=1000)] = []
    mode: Literal["replace", "merge"] = "replace"
    delete: Annotated[list[Index], msgspec.Meta(max_length=1000)] = []
    obis: ProfileObis = None


class Entry(NamedTuple):
    number: int
    date: CosemDate
    day_id: int

    @classmethod
    def of(cls, day: SpecialDay) -> Self:
        return cls(day.index, parse_date(day.date), day.day_id)

    @classmethod
    def decode(cls, data: Data) -> Self:
        index, date, day_id = data.elements(3)
        return cls(index.number(), CosemDate.decode(date.octet_string(5)), day_id.number())

    def encode(self, date_tag: Tag) -> Data:
        date = Data(date_tag, self.date.encode())
        return Data.structure([Data.long_unsigned(self.number), date, Data.unsigned(self.day_id)])

    def same_as(self, other: "Entry") -> bool:
        return (self.number, self.day_id) == (other.number, other.day_id) and self.date.same_as(other.date)

    def to_json(self) -> dict[str, Any]:
        return {"index": self.number, "date": str(self.date), "dayId": self.day_id}


Table = dict[int, Entry]


def check(parameters: SetSpecialDays, now: datetime) -> None:
    check_obis(parameters.obis)
    seen: set[int] = set()
    for number, day in enumerate(parameters.entries):
        path = f"{ROOT}.entries[{number}]"
        try:
            parse_date(day.date)
        except EncodeError as error:
            raise InvalidField(f"{path}.date", day.date, str(error)) from None
        if day.index in seen:
            raise InvalidField(f"{path}.index", day.index, "the index stands twice")
        seen.add(day.index)
    require(parameters.mode == "merge" or not parameters.delete, "delete", parameters.delete, "only with mode merge")
    for number, index in enumerate(parameters.delete):
        require(index not in seen, f"delete[{number}]", index, "deleted and entered")
    nothing = parameters.mode == "merge" and not parameters.entries and not parameters.delete
    require(not nothing, "entries", [], "a merge of nothing")


async def perform(session: MeterSession, parameters: SetSpecialDays) -> Outcome:
    profile = session.profile
    name = chosen(parameters.obis, profile.objects.special_days)
    attribute = CosemAttribute(CLASS_ID, name, ENTRIES)
    wanted = {day.index: Entry.of(day) for day in parameters.entries}
    before = await read(session, attribute, decode_table)
    target = wanted if parameters.mode == "replace" else _merged(before, wanted, parameters.delete)
    if _same(before, target):
        return Outcome.already_so(table_json(before))
    most = profile.special_days.max_entries
    if len(target) > most:
        detail = f"nothing was written: {len(target)} special days, the meter's profile allows {most}"
        raise StepFailed(ErrorWord.PROFILE_LIMIT, detail)
    if parameters.mode == "replace":
        await session.set(attribute, Data.array([each.encode(profile.dates.date) for each in _sorted(target)]))
    else:
        await _merge(session, name, before, wanted, parameters.delete)
    after = await read(session, attribute, decode_table)
    if not _same(after, target):
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, f"read-back of {attribute} differs", table_json(after))
    return Outcome.done(table_json(after))


def decode_table(data: Data) -> Table:
    """DecodeError where it is no table, or an index stands in it twice."""
    entries = [Entry.decode(element) for element in data.elements()]
    table = {entry.number: entry for entry in entries}
    if len(table) < len(entries):
        raise DecodeError("a special days table with an index that stands twice")
    return table


def table_json(table: Table) -> dict[str, Any]:
    return {"entries": [entry.to_json() for entry in _sorted(table)]}


async def _merge(session: MeterSession, name: LogicalName, before: Table, wanted: Table, delete: list[int]) -> None:
    for index in delete:
        if index in before:
            await session.action(CosemMethod(CLASS_ID, name, DELETE), Data.long_unsigned(index))
    for entry in _sorted(wanted):
        there = before.get(entry.number)
        if there is None or not entry.same_as(there):
            await session.action(CosemMethod(CLASS_ID, name, INSERT), entry.encode(session.profile.dates.date))


def _merged(before: Table, wanted: Table, delete: list[int]) -> Table:
    """An entry that is inserted overwrites the one of its date too."""
    dates = [entry.date for entry in wanted.values()]
    left = {
        index: entry
        for index, entry in before.items()
        if index not in delete and not any(entry.date.same_as(date) for date in dates)
    }
    return left | wanted


def _same(one: Table, other: Table) -> bool:
    return one.keys() == other.keys() and all(one[index].same_as(other[index]) for index in one)


def _sorted(table: Table) -> list[Entry]:
    return [table[index] for index in sorted(table)]


SET_SPECIAL_DAYS = CommandType(
    traits=CommandTraits(
        name="SET_SPECIAL_DAYS",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.CALENDAR,
        expires_after=timedelta(days=1),
        can_read_back=True,
    ),
    parameters=SetSpecialDays,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "special_days"),
    summary="Replaces the special days table or merges entries into it, and reads it back.",
)
