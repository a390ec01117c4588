"""VERIFY_FIRMWARE: the version that runs, and where one is expected, whether it is that one (catalogue 1.10, step 9).

It changes nothing. It follows a FIRMWARE_UPDATE whose activation was left to the meters.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from metercast.commands.contract import CommandType, MeterRefused, MeterSession, StepFailed
from metercast.commands.firmware.firmware_parameters import Version
from metercast.commands.firmware.image_object import ImageObject, TransferStatus, version_text
from metercast.commands.parameters import ProfileObis, check_obis, chosen
from metercast.commands.steps import read
from metercast.dlms.cosem import CosemAttribute
from metercast.domain.command import CommandTraits
from metercast.domain.outcome import Outcome
from metercast.domain.retry import Resend
from metercast.domain.words import ErrorWord

NAME = "VERIFY_FIRMWARE"


class VerifyFirmware(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Without a `version` any will do: it is only read."""

    version: Version | None = None
    obis: ProfileObis = None
    version_obis: ProfileObis = None


def check(parameters: VerifyFirmware, now: datetime) -> None:
    check_obis(parameters.obis)
    check_obis(parameters.version_obis, "versionObis")


async def perform(session: MeterSession, parameters: VerifyFirmware) -> Outcome:
    objects = session.profile.objects
    what = CosemAttribute(1, chosen(parameters.version_obis, objects.firmware_version), 2)
    version = await read(session, what, version_text)
    status = await _status(session, ImageObject(chosen(parameters.obis, objects.image_transfer)))
    result: dict[str, Any] = {"version": version, "imageTransfer": None if status is None else status.label}
    if parameters.version is None or version == parameters.version:
        return Outcome.done(result)
    if status is TransferStatus.ACTIVATION_INITIATED:
        raise StepFailed(ErrorWord.TEMPORARY_FAILURE, f"GET {what}: {version!r}; the meter is activating", result)
    detail = f"GET {what}: {version!r}, not {parameters.version!r}"
    raise StepFailed(ErrorWord.VERIFICATION_FAILED, detail, result)


async def _status(session: MeterSession, target: ImageObject) -> TransferStatus | None:
    """None where the meter has no image transfer, or does not tell."""
    try:
        return await target.status(session)
    except MeterRefused:
        return None


VERIFY_FIRMWARE = CommandType(
    traits=CommandTraits(name=NAME, resend=Resend.SAFE, expires_after=timedelta(days=1)),
    parameters=VerifyFirmware,
    perform=perform,
    check=check,
    summary="Reads the firmware's version and, where one is expected, compares it.",
)


def verification(version: str, obis: str | None, version_obis: str | None) -> dict[str, Any]:
    """The commandParams that verify it."""
    params: dict[str, Any] = msgspec.to_builtins(VerifyFirmware(version=version, obis=obis, version_obis=version_obis))
    return params
