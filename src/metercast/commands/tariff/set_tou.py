"""SET_TOU: writes the passive tariff calendar, verifies it, and activates it (class 20, catalogue 1.1).

Nothing is activated before all four attributes were written and read back. An activation that an earlier campaign
left armed is taken away first: half-written tables are harmless only while nothing is armed.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from metercast.commands.contract import CommandType, FollowUp, MeterRefused, MeterSession, StepFailed
from metercast.commands.parameters import ProfileObis, check_obis, object_of, require
from metercast.commands.steps import poll, worst
from metercast.commands.tariff.activation import (
    Activation,
    activation_instant,
    activation_text,
    check_activation,
    encode_activation,
    latest_instant,
    unspecified,
)
from metercast.commands.tariff.calendar import (
    Calendar,
    CalendarName,
    Days,
    NameEncoding,
    Seasons,
    Weeks,
    check_calendar,
)
from metercast.commands.tariff.calendar_codec import (
    Manner,
    Tables,
    decode_tables,
    differences,
    encode_calendar,
    tables_json,
)
from metercast.commands.tariff.calendar_object import ACTIVATION_TIME, ACTIVE, CLASS_ID, PASSIVE, CalendarObject
from metercast.commands.tariff.calendar_rules import check_rules
from metercast.commands.tariff.verify_tou import NAME as VERIFY
from metercast.commands.tariff.verify_tou import verification
from metercast.dlms.data import Data
from metercast.dlms.datetimes import CosemDateTime
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord
from metercast.profiles.model import CALENDAR_PARTS

# After the activation's time: for clocks that are not exact, and meters that take a while.
FOLLOW_UP_MARGIN = timedelta(minutes=15)


class SetTou(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The calendar's fields are needed by every mode but disarm, which takes none."""

    activation: Activation
    calendar_name: CalendarName | None = None
    seasons: Seasons | None = None
    weeks: Weeks | None = None
    days: Days | None = None
    name_encoding: NameEncoding = "ascii"
    obis: ProfileObis = None

    @property
    def calendar(self) -> Calendar:
        assert self.calendar_name is not None
        assert self.seasons is not None
        assert self.weeks is not None
        assert self.days is not None
        return Calendar(
            calendar_name=self.calendar_name,
            seasons=self.seasons,
            weeks=self.weeks,
            days=self.days,
            name_encoding=self.name_encoding,
        )


def check(parameters: SetTou, now: datetime) -> None:
    check_obis(parameters.obis)
    mode = parameters.activation.mode
    for field, name in (
        ("calendar_name", "calendarName"),
        ("seasons", "seasons"),
        ("weeks", "weeks"),
        ("days", "days"),
    ):
        value = getattr(parameters, field)
        if mode == "disarm":
            require(value is None, name, msgspec.to_builtins(value), "mode disarm writes no calendar")
        else:
            require(value is not None, name, None, f"mode {mode} needs it")
    if mode != "disarm":
        check_calendar(parameters.calendar)
    check_activation(parameters.activation, now)


def follow_up(parameters: SetTou) -> FollowUp | None:
    """A verification, where the activation is left to the meters."""
    if parameters.activation.mode != "at":
        return None
    due_at = latest_instant(parameters.activation) + FOLLOW_UP_MARGIN
    return FollowUp(due_at, VERIFY, verification(parameters.calendar, parameters.obis))


async def perform(session: MeterSession, parameters: SetTou) -> Outcome:
    target = CalendarObject.of(session, parameters.obis)
    mode = parameters.activation.mode
    if mode == "disarm":
        changed = await _disarm(session, target)
        result: dict[str, Any] = {"activationTime": None}
        return Outcome.done(result) if changed else Outcome.already_so(result)
    check_rules(parameters.calendar, session.profile.calendar)
    encoded = encode_calendar(parameters.calendar, Manner.of(session.profile))
    wanted = decode_tables(*encoded)
    if mode == "at":
        return await _activate_later(session, target, encoded, wanted, parameters.activation)
    disarmed = await _disarm(session, target)
    if mode == "none":
        await _write(session, target, encoded, wanted)
        return Outcome.done({"passive": tables_json(wanted)})
    if await target.find_tables(session, ACTIVE, wanted):
        result = {"active": tables_json(wanted)}
        return Outcome.done(result) if disarmed else Outcome.already_so(result)
    await _write(session, target, encoded, wanted)
    await session.action(target.activate, Data.integer(0))
    return Outcome.done({"active": tables_json(await _verify_active(session, target, wanted))})


async def _activate_later(
    session: MeterSession,
    target: CalendarObject,
    encoded: tuple[Data, ...],
    wanted: Tables,
    activation: Activation,
) -> Outcome:
    moment = activation_instant(activation, ZoneInfo(session.meter.record.time_zone))
    time = encode_activation(moment, session.profile.dates)
    asked = CosemDateTime.decode(time.octet_string(12))
    armed = await target.read_armed(session)
    result = {"passive": tables_json(wanted), "activationTime": activation_text(asked)}
    if (
        armed is not None
        and armed.same_as(asked)
        and moment > session.now()
        and await target.find_tables(session, PASSIVE, wanted)
    ):
        return Outcome.scheduled(result)
    if moment <= session.now():
        # What an earlier session armed has come true, or it is too late to arm: some meters fire a past time at once.
        if await target.find_tables(session, ACTIVE, wanted):
            return Outcome.already_so({"active": tables_json(wanted)})
        raise StepFailed(ErrorWord.EXPIRED, f"the activation time {activation_text(asked)} passed; nothing was armed")
    if armed is not None:
        await _clear(session, target)
    await _write(session, target, encoded, wanted)
    await session.set(target.attribute(ACTIVATION_TIME), time)
    seen = await target.read_armed(session)
    if seen is None or not seen.same_as(asked):
        what = target.attribute(ACTIVATION_TIME)
        detail = f"read-back of {what}: {activation_text(seen)}, not {activation_text(asked)}"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, {"activationTime": activation_text(seen)})
    return Outcome.scheduled(result)


async def _disarm(session: MeterSession, target: CalendarObject) -> bool:
    """Takes away an armed activation; whether there was one."""
    if await target.read_armed(session) is None:
        return False
    await _clear(session, target)
    return True


async def _clear(session: MeterSession, target: CalendarObject) -> None:
    await session.set(target.attribute(ACTIVATION_TIME), unspecified(session.profile.dates))
    seen = await target.read_armed(session)
    if seen is not None:
        detail = f"{target.attribute(ACTIVATION_TIME)} is still {activation_text(seen)} after it was disarmed"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, {"activationTime": activation_text(seen)})


async def _write(session: MeterSession, target: CalendarObject, encoded: tuple[Data, ...], wanted: Tables) -> None:
    """Writes the passive calendar and reads it back; StepFailed unless all four attributes hold what was sent."""
    refused = []
    for part in session.profile.calendar.write_order:
        offset = CALENDAR_PARTS.index(part)
        try:
            await session.set(target.attribute(PASSIVE + offset), encoded[offset])
        except MeterRefused as error:  # the other tables are tried too, so that one session tells all that is wrong
            refused.append(error)
    if refused:
        details = "; ".join(error.detail for error in refused)
        raise StepFailed(worst([error.error for error in refused]), f"nothing was activated: {details}")
    found = await target.read_tables(session, PASSIVE)
    if found != wanted:
        detail = f"nothing was activated: passive {'; '.join(differences(wanted, found))}"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, {"passive": tables_json(found)})


async def _verify_active(session: MeterSession, target: CalendarObject, wanted: Tables) -> Tables:
    """The active calendar once it is `wanted`; some meters need a moment after the activation."""
    if session.profile.delays.after_activation:
        await session.sleep(session.profile.delays.after_activation)
    found = await poll(session, lambda: target.read_tables(session, ACTIVE), lambda tables: tables == wanted)
    if found != wanted:
        detail = f"after the activation: active {'; '.join(differences(wanted, found))}"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, {"active": tables_json(found)})
    return found


SET_TOU = CommandType(
    traits=CommandTraits(
        name="SET_TOU",
        resend=Resend.VERIFY,
        conflict_group=ConflictGroup.CALENDAR,
        expires_after=timedelta(days=1),
        can_read_back=True,
    ),
    parameters=SetTou,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "activity_calendar"),
    follow_up=follow_up,
    summary="Writes the passive tariff calendar, verifies it and activates it: at once, at a time, or not at all.",
)
