"""GET, SET and ACTION: any object that no other command knows, with typed values (catalogue 1.15).

What a product must not do by the way is refused before anything is sent: secrets, keys, and the global reset.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

from metercast.commands.contract import CommandType, MeterSession, StepFailed
from metercast.commands.meter.typed_data import from_json, to_json
from metercast.commands.parameters import ROOT, Obis, logical_name
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Profile

ASSOCIATION, SECURITY_SETUP = 15, 64
_SECRET: Final = 7  # of an association
_GLOBAL_RESET: Final = bytes((10, 0, 0))  # groups C, D and E, on whichever channel

ClassId = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
AttributeIndex = Annotated[int, msgspec.Meta(ge=-128, le=127)]
Method = Annotated[int, msgspec.Meta(ge=-128, le=127)]


class Selective(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    selector: Annotated[int, msgspec.Meta(ge=0, le=255)]
    parameters: dict[str, Any]


class GenericGet(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    class_: ClassId = msgspec.field(name="class")
    obis: Obis
    attribute: AttributeIndex
    selection: Selective | None = None


class GenericSet(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    class_: ClassId = msgspec.field(name="class")
    obis: Obis
    attribute: AttributeIndex
    value: dict[str, Any]
    verify: bool = True


class GenericAction(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    class_: ClassId = msgspec.field(name="class")
    obis: Obis
    method: Method
    parameter: dict[str, Any] | None = None


def check_get(parameters: GenericGet, now: datetime) -> None:
    _check_attribute(parameters)
    if parameters.selection is not None:
        from_json(parameters.selection.parameters, f"{ROOT}.selection.parameters")


def check_set(parameters: GenericSet, now: datetime) -> None:
    _check_attribute(parameters)
    if parameters.class_ == SECURITY_SETUP:
        raise InvalidField(f"{ROOT}.class", parameters.class_, "the security setup is not changed by SET")
    _check_value(from_json(parameters.value, f"{ROOT}.value"), f"{ROOT}.value")


def check_action(parameters: GenericAction, now: datetime) -> None:
    name = logical_name(parameters.obis, f"{ROOT}.obis")
    if parameters.class_ in (ASSOCIATION, SECURITY_SETUP):
        raise InvalidField(f"{ROOT}.class", parameters.class_, "keys, secrets and users are not changed by ACTION")
    if name[2:5] == _GLOBAL_RESET:
        raise InvalidField(f"{ROOT}.obis", parameters.obis, "the global reset is not executed")
    if parameters.parameter is not None:
        _check_value(from_json(parameters.parameter, f"{ROOT}.parameter"), f"{ROOT}.parameter")


def _check_value(value: Data, path: str) -> None:
    """The global reset is not put into a schedule or a script either."""
    inside = value.value
    if isinstance(inside, list):
        for element in inside:
            _check_value(element, path)
    elif isinstance(inside, bytes) and len(inside) == 6 and inside[0] == 0 and inside[2:5] == _GLOBAL_RESET:
        raise InvalidField.secret(path, "names the global reset, which is not executed")


def _check_attribute(parameters: GenericGet | GenericSet) -> None:
    logical_name(parameters.obis, f"{ROOT}.obis")
    if parameters.class_ == ASSOCIATION and parameters.attribute == _SECRET:
        raise InvalidField(f"{ROOT}.attribute", parameters.attribute, "the secret of an association stays in the meter")


async def perform_get(session: MeterSession, parameters: GenericGet) -> Outcome:
    selection = None
    if parameters.selection is not None:
        selective = parameters.selection
        selection = Selection(selective.selector, from_json(selective.parameters, f"{ROOT}.selection.parameters"))
    value = await session.get(_attribute(parameters), selection)
    return Outcome.done({"value": to_json(value)})


async def perform_set(session: MeterSession, parameters: GenericSet) -> Outcome:
    """With `verify` the value is read first, and is not written where it is as asked; then it is read back."""
    attribute, value = _attribute(parameters), from_json(parameters.value, f"{ROOT}.value")
    if not parameters.verify:
        await session.set(attribute, value)
        return Outcome.done()
    if await session.get(attribute) == value:
        return Outcome.already_so({"value": to_json(value)})
    await session.set(attribute, value)
    after = await session.get(attribute)
    if after != value:
        detail = f"read-back of {attribute}: not what was written"
        raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, {"value": to_json(after)})
    return Outcome.done({"value": to_json(after)})


async def perform_action(session: MeterSession, parameters: GenericAction) -> Outcome:
    method = CosemMethod(parameters.class_, LogicalName.parse(parameters.obis), parameters.method)
    given = parameters.parameter
    returned = await session.action(method, None if given is None else from_json(given, f"{ROOT}.parameter"))
    return Outcome.done({"returned": None if returned is None else to_json(returned)})


def _attribute(parameters: GenericGet | GenericSet) -> CosemAttribute:
    return CosemAttribute(parameters.class_, LogicalName.parse(parameters.obis), parameters.attribute)


def _target(parameters: GenericGet | GenericSet | GenericAction, profile: Profile) -> tuple[int, LogicalName]:
    return parameters.class_, LogicalName.parse(parameters.obis)


GET = CommandType(
    traits=CommandTraits(name="GET", resend=Resend.SAFE, expires_after=timedelta(hours=1)),
    parameters=GenericGet,
    perform=perform_get,
    check=check_get,
    target=_target,
    summary="Reads any attribute, with selective access where wanted, as typed JSON.",
)
SET = CommandType(
    traits=CommandTraits(name="SET", resend=Resend.SAFE, expires_after=timedelta(hours=6), is_privileged=True),
    parameters=GenericSet,
    perform=perform_set,
    check=check_set,
    target=_target,
    summary="Writes any attribute with a typed value, and reads it back; secrets and keys are refused.",
)
ACTION = CommandType(
    traits=CommandTraits(name="ACTION", resend=Resend.NEVER, expires_after=timedelta(hours=6), is_privileged=True),
    parameters=GenericAction,
    perform=perform_action,
    check=check_action,
    target=_target,
    summary="Invokes any method with a typed parameter; never sent twice; keys and the global reset are refused.",
)
