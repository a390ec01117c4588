"""SET_PUSH_SETUP: what a meter sends by itself, when and where to (class 40, versions 0 to 2, catalogue 1.11).

The destination is written last, so nothing is pushed to a new host with an old list. What stands there already is not
written. The class's version decides the form of a push object; it is found out unless it is told.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.meter.push_parameters import (
    OPERATION_METHODS,
    Confirmation,
    Destination,
    OperationMethod,
    PushObject,
    RepetitionDelay,
    UInt8,
    UInt16,
    Window,
    check_objects,
    check_texts,
)
from metercast.commands.meter.read_association import CLASS_ID as ASSOCIATION
from metercast.commands.meter.read_association import OBJECT_LIST
from metercast.commands.parameters import ROOT, Obis, ProfileObis, check_obis, chosen, logical_name, object_of, require
from metercast.commands.plain import plain
from metercast.commands.steps import read, read_indexed
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.errors import EncodeError
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord

CLASS_ID: Final = 40
OBJECTS, DESTINATION, WINDOWS, RANDOMISATION, RETRIES, REPETITION_DELAY = 2, 3, 4, 5, 6, 7
PORT, CLIENT, OPERATION_METHOD, CONFIRMATION = 8, 9, 11, 12
PUSH = 1
_ORDER: Final = (
    *(WINDOWS, RANDOMISATION, RETRIES, REPETITION_DELAY, PORT, CLIENT, OPERATION_METHOD, CONFIRMATION),
    *(OBJECTS, DESTINATION),
)
_FROM_VERSION: Final = {PORT: 1, CLIENT: 1, OPERATION_METHOD: 2, CONFIRMATION: 2}
_PARTS: Final = {4: 0, 5: 1, 6: 2}  # of a push object, and the version that they show


class SetPushSetup(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What is left out stays. `push` lets the meter push once when all is verified."""

    objects: Annotated[list[PushObject], msgspec.Meta(max_length=100)] | None = None
    destination: Destination | None = None
    windows: Annotated[list[Window], msgspec.Meta(max_length=100)] | None = None
    randomisation_seconds: UInt16 | None = None
    retries: UInt8 | None = None
    repetition_delay_seconds: UInt16 | None = None
    repetition_delay: RepetitionDelay | None = None
    port_reference: Obis | None = None
    client_sap: Annotated[int, msgspec.Meta(ge=0, le=127)] | None = None
    operation_method: OperationMethod | None = None
    confirmation: Confirmation | None = None
    push: bool = False
    version: Annotated[int, msgspec.Meta(ge=0, le=2)] | None = None
    obis: ProfileObis = None


_NOT_TO_SET: Final = ("push", "version", "obis")


def check(parameters: SetPushSetup, now: datetime) -> None:
    check_obis(parameters.obis)
    given = [getattr(parameters, name) for name in parameters.__struct_fields__ if name not in _NOT_TO_SET]
    require(parameters.push or any(value is not None for value in given), "objects", None, "nothing to set")
    if parameters.port_reference is not None:
        logical_name(parameters.port_reference, f"{ROOT}.portReference")
    both = parameters.repetition_delay is not None and parameters.repetition_delay_seconds is not None
    require(not both, "repetitionDelay", None, "either repetitionDelaySeconds or, in version 2, repetitionDelay")
    check_objects(parameters.objects or [])
    if parameters.destination is not None:
        try:
            parameters.destination.octets()
        except EncodeError as error:
            raise InvalidField(f"{ROOT}.destination.address", parameters.destination.address, str(error)) from None
    for number, window in enumerate(parameters.windows or []):
        check_texts(window, f"{ROOT}.windows[{number}]", {"start": window.start, "end": window.end})
    if parameters.confirmation is not None:
        check_texts(parameters.confirmation, f"{ROOT}.confirmation.start", parameters.confirmation.start)
    if parameters.version is not None:
        unfit = _unfit(parameters, parameters.version)
        require(unfit is None, unfit or "", None, f"not in version {parameters.version} of the class")


async def perform(session: MeterSession, parameters: SetPushSetup) -> Outcome:
    name = chosen(parameters.obis, session.profile.objects.push_setup)
    version = parameters.version if parameters.version is not None else await _version(session, name)
    unfit = _unfit(parameters, version)
    if unfit is not None:
        detail = f"the push setup {name} is of version {version}, which has no {unfit}"
        raise StepFailed(ErrorWord.SERVICE_NOT_SUPPORTED, detail)
    wanted = _wanted(parameters, version, session.profile.dates.date_time)
    before = await read_indexed(session, partial(CosemAttribute, CLASS_ID, name), wanted)
    changed = [index for index in _ORDER if index in wanted and not _same(before[index], wanted[index])]
    for index in changed:
        await session.set(CosemAttribute(CLASS_ID, name, index), wanted[index])
    after = before | await read_indexed(session, partial(CosemAttribute, CLASS_ID, name), changed)
    result = {"version": version, **_shown(after)}
    for index in changed:
        if not _same(after[index], wanted[index]):
            detail = f"read-back of {CosemAttribute(CLASS_ID, name, index)}: {plain(after[index])}"
            raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, result)
    if parameters.push:
        await session.action(CosemMethod(CLASS_ID, name, PUSH), Data.integer(0))
        result["pushed"] = True
    return Outcome.done(result) if changed or parameters.push else Outcome.already_so(result)


async def _version(session: MeterSession, name: LogicalName) -> int:
    """The class's version at this meter: a push object that stands there shows it, else the long object list does.

    StepFailed where that has no such push setup, or a later one.
    """
    elements = await read(session, CosemAttribute(CLASS_ID, name, OBJECTS), Data.elements)
    if elements and isinstance(elements[0].value, list) and len(elements[0].value) in _PARTS:
        return _PARTS[len(elements[0].value)]
    attribute = CosemAttribute(ASSOCIATION, session.profile.objects.association, OBJECT_LIST)

    def version_in(data: Data) -> int | None:
        for element in data.elements():
            class_id, version, logical_name, _ = element.elements(4)
            if class_id.number() == CLASS_ID and logical_name.octet_string(6) == name:
                return version.number()
        return None

    version = await read(session, attribute, version_in)
    if version is None:
        raise StepFailed(ErrorWord.OBJECT_UNDEFINED, f"the object list has no push setup {name}")
    if version > 2:
        detail = f"the push setup {name} is of version {version}; 0 to 2 are known"
        raise StepFailed(ErrorWord.SERVICE_NOT_SUPPORTED, detail)
    return version


def _unfit(parameters: SetPushSetup, version: int) -> str | None:
    """The name of what that version does not have."""
    for number, each in enumerate(parameters.objects or []):
        if each.needs_version > version:
            return f"objects[{number}].{'columns' if each.columns else 'restriction'}"
    if version < 2 and parameters.repetition_delay is not None:
        return "repetitionDelay"
    if version == 2 and parameters.repetition_delay_seconds is not None:
        return "repetitionDelaySeconds"
    given = {
        PORT: parameters.port_reference,
        CLIENT: parameters.client_sap,
        OPERATION_METHOD: parameters.operation_method,
        CONFIRMATION: parameters.confirmation,
    }
    for index, first in _FROM_VERSION.items():
        if given[index] is not None and version < first:
            return _NAMES[index]
    return None


def _wanted(parameters: SetPushSetup, version: int, date_time: Tag) -> dict[int, Data]:
    wanted: dict[int, Data | None] = {
        OBJECTS: _array(parameters.objects, lambda each: each.to_data(version, date_time)),
        DESTINATION: _made(parameters.destination, Destination.to_data),
        WINDOWS: _array(parameters.windows, lambda each: each.to_data(date_time)),
        RANDOMISATION: _made(parameters.randomisation_seconds, Data.long_unsigned),
        RETRIES: _made(parameters.retries, Data.unsigned),
        REPETITION_DELAY: _made(parameters.repetition_delay_seconds, Data.long_unsigned)
        or _made(parameters.repetition_delay, RepetitionDelay.to_data),
        PORT: _made(parameters.port_reference, lambda text: Data.octets(LogicalName.parse(text))),
        CLIENT: _made(parameters.client_sap, Data.integer),
        OPERATION_METHOD: _made(parameters.operation_method, lambda name: Data.enum(OPERATION_METHODS.index(name))),
        CONFIRMATION: _made(parameters.confirmation, lambda each: each.to_data(date_time)),
    }
    return {index: value for index, value in wanted.items() if value is not None}


def _made(value: Any, make: Any) -> Data | None:
    return None if value is None else make(value)


def _array(values: list[Any] | None, make: Any) -> Data | None:
    return None if values is None else Data.array([make(value) for value in values])


def _same(one: Data, other: Data) -> bool:
    """A date-time inside counts by what it means."""
    if one.tag is other.tag and isinstance(one.value, list) and len(one.value) == len(other.value):
        return all(_same(mine, theirs) for mine, theirs in zip(one.value, other.value, strict=True))
    if isinstance(one.value, bytes) and isinstance(other.value, bytes) and len(one.value) == len(other.value) == 12:
        return one == other or CosemDateTime.decode(one.value).same_as(CosemDateTime.decode(other.value))
    return one == other


_NAMES: Final = {
    OBJECTS: "objects",
    DESTINATION: "destination",
    WINDOWS: "windows",
    RANDOMISATION: "randomisationSeconds",
    RETRIES: "retries",
    REPETITION_DELAY: "repetitionDelay",
    PORT: "portReference",
    CLIENT: "clientSap",
    OPERATION_METHOD: "operationMethod",
    CONFIRMATION: "confirmation",
}


def _shown(values: dict[int, Data]) -> dict[str, Any]:
    return {_NAMES[index]: plain(values[index]) for index in sorted(values)}


SET_PUSH_SETUP = CommandType(
    traits=CommandTraits(
        name="SET_PUSH_SETUP", resend=Resend.VERIFY, expires_after=timedelta(hours=6), can_read_back=True
    ),
    parameters=SetPushSetup,
    perform=perform,
    check=check,
    target=object_of(CLASS_ID, "push_setup"),
    summary="Sets what a meter pushes, when and where to, reads it back, and lets it push once where wanted.",
)
