"""READ_ASSOCIATION: the objects that the meter shows to this client, with its rights (class 15, catalogue 1.14)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from metercast.commands.contract import CommandType, MeterRefused, MeterSession
from metercast.commands.object_lists import Target
from metercast.commands.parameters import ProfileObis, check_obis, chosen
from metercast.commands.running_firmware import firmware_attribute, firmware_text
from metercast.commands.steps import read
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, Tag
from metercast.dlms.logical_name import LogicalName
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend

CLASS_ID: Final = 15
OBJECT_LIST: Final = 2
CURRENT_ASSOCIATION: Final = LogicalName.parse("0.0.40.0.0.255")
_BITS_FROM_VERSION: Final = 3  # access modes are bits from this version of the class on

_ATTRIBUTE_MODES: Final = {
    0: [],
    1: ["read"],
    2: ["write"],
    3: ["read", "write"],
    4: ["read", "authenticated"],
    5: ["write", "authenticated"],
    6: ["read", "write", "authenticated"],
}
_METHOD_MODES: Final = {0: [], 1: ["access"], 2: ["access", "authenticated"]}
_PROTECTION_BITS: Final = (
    (4, "authenticated-request"),
    (8, "encrypted-request"),
    (16, "signed-request"),
    (32, "authenticated-response"),
    (64, "encrypted-response"),
    (128, "signed-response"),
)
_ATTRIBUTE_BITS: Final = ((1, "read"), (2, "write"), *_PROTECTION_BITS)
_METHOD_BITS: Final = ((1, "access"), *_PROTECTION_BITS)


class ReadAssociation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    obis: ProfileObis = None


def check(parameters: ReadAssociation, now: datetime) -> None:
    check_obis(parameters.obis)


async def perform(session: MeterSession, parameters: ReadAssociation) -> Outcome:
    attribute = CosemAttribute(CLASS_ID, chosen(parameters.obis, session.profile.objects.association), OBJECT_LIST)
    objects = await read(session, attribute, objects_json)
    firmware = await _firmware(session)
    # The list of another association than the own one says nothing of what commands find.
    if firmware is not None and session.model is not None and attribute.logical_name == CURRENT_ASSOCIATION:
        shown = [Target(each["class"], LogicalName.parse(each["obis"])) for each in objects]
        session.object_lists.put(session.model, firmware, shown)
    return Outcome.done({"firmware": firmware, "objects": objects})


async def _firmware(session: MeterSession) -> str | None:
    """The active firmware's identifier, or None where the meter does not tell it."""
    try:
        return firmware_text(await session.get(firmware_attribute(session.profile)))
    except MeterRefused:
        return None


def objects_json(data: Data) -> list[dict[str, Any]]:
    """DecodeError where it is no object list. What the modes mean is decided by the association's own version in it."""
    rows = [element.elements(4) for element in data.elements()]
    versions = [version.number() for class_id, version, _, _ in rows if class_id.number() == CLASS_ID]
    has_bits = bool(versions) and max(versions) >= _BITS_FROM_VERSION
    of_attribute = _by_bits(_ATTRIBUTE_BITS) if has_bits else _by_code(_ATTRIBUTE_MODES)
    of_method = _by_bits(_METHOD_BITS) if has_bits else _by_code(_METHOD_MODES)
    return [
        {
            "class": class_id.number(),
            "version": version.number(),
            "obis": str(LogicalName(name.octet_string(6))),
            **_rights(rights, of_attribute, of_method),
        }
        for class_id, version, name, rights in rows
    ]


Modes = Callable[[int], list[str]]


def _rights(rights: Data, of_attribute: Modes, of_method: Modes) -> dict[str, Any]:
    attributes, methods = rights.elements(2)
    shown: list[dict[str, Any]] = []
    for element in attributes.elements():
        index, mode, selectors = element.elements(3)
        item: dict[str, Any] = {"attribute": index.number(), "access": of_attribute(_code(mode))}
        if selectors.tag is not Tag.NULL_DATA:
            item["selectors"] = [selector.number() for selector in selectors.elements()]
        shown.append(item)
    invoked = [element.elements(2) for element in methods.elements()]
    return {
        "attributes": shown,
        "methods": [{"method": index.number(), "access": of_method(_code(mode))} for index, mode in invoked],
    }


def _code(mode: Data) -> int:
    """A method's right is a boolean in version 0."""
    return int(mode.truth()) if mode.tag is Tag.BOOLEAN else mode.number()


def _by_code(names: dict[int, list[str]]) -> Modes:
    return lambda mode: names.get(mode, [f"mode {mode}"])


def _by_bits(names: tuple[tuple[int, str], ...]) -> Modes:
    return lambda mode: [name for bit, name in names if mode & bit]


READ_ASSOCIATION = CommandType(
    traits=CommandTraits(name="READ_ASSOCIATION", resend=Resend.SAFE, expires_after=timedelta(hours=6)),
    parameters=ReadAssociation,
    perform=perform,
    check=check,
    summary="Reads the object list of the association: classes, versions, logical names and rights.",
)
