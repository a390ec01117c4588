"""From a report to what can be registered: the device record without secrets, and a profile."""

from typing import Any, Final

import msgspec

from metercast.domain.meter import MeterRecord, check_record
from metercast.domain.problem import InvalidField
from metercast.probe.profile import draft_profile, profile_name
from metercast.probe.report import Draft, Report
from metercast.probe.settings import Credentials, ProbeSettings
from metercast.profiles.model import GENERIC

_MAX_WINDOW: Final = 7
_MAX_INFO: Final = 2030
_MIN_INFO: Final = 16


def draft_of(report: Report, settings: ProbeSettings, credentials: Credentials | None) -> Draft | None:
    """None where no framing was found."""
    line = report.line
    if line.framing is None:
        return None
    connection: dict[str, Any] = {"host": settings.host, "port": settings.port, "framing": line.framing}
    if line.framing == "hdlc":
        connection["hdlc"] = _hdlc(report)
    associations: dict[str, Any] = {}
    if credentials is not None:
        given = credentials.settings
        associations["management"] = {
            "clientSap": given.client_sap,
            "authentication": given.authentication.value,
            "protection": given.protection.value,
        }
        if given.client_system_title is not None:
            associations["management"]["clientSystemTitle"] = given.client_system_title.hex().upper()
    associations["public"] = {"clientSap": report.public.client_sap}
    identity = {}
    if report.identity.logical_device_name is not None:
        identity["logicalDeviceName"] = report.identity.logical_device_name[:64]
    if report.identity.system_title is not None:
        identity["serverSystemTitle"] = report.identity.system_title
    profile, differs = draft_profile(report)
    name = profile_name(report)
    device = {
        "deviceId": (report.identity.logical_device_name or report.identity.serial_number or report.target)[:128],
        "connection": connection,
        "serverSap": line.server_sap,
        "profile": name if differs else GENERIC,
        "timeZone": "UTC",
        "associations": associations,
        "identity": identity,
    }
    _check(report, device, name)
    return Draft(device=device, profile_name=name, profile=profile)


def _hdlc(report: Report) -> dict[str, Any]:
    """What the meter tells of its own sizes, seen from our side."""
    line = report.line
    found: dict[str, Any] = {"addressSize": line.address_size, "physicalDevice": line.physical_device}
    for name, theirs, most in (
        ("transmitSize", line.receive_size, _MAX_INFO),
        ("receiveSize", line.transmit_size, _MAX_INFO),
        ("transmitWindow", line.receive_window, _MAX_WINDOW),
        ("receiveWindow", line.transmit_window, _MAX_WINDOW),
    ):
        if theirs is not None:
            found[name] = max(_MIN_INFO if most == _MAX_INFO else 1, min(theirs, most))
    return found


def _check(report: Report, device: dict[str, Any], profile: str) -> None:
    """A draft that would be refused says so."""
    try:
        record = msgspec.convert({name: value for name, value in device.items() if name != "deviceId"}, MeterRecord)
        check_record(record, (GENERIC, profile))
    except (InvalidField, msgspec.ValidationError) as error:
        report.notes.append(f"the draft needs a hand: {error}")
