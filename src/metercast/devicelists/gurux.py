"""Device lists of GXDLMSDirector (`.gxc`): XML with a GXDLMSDevice for each meter, in the namespace Gurux1 or in none.

What a field leaves out has the default that GXDLMSDirector gives it. Objects and values that were read are passed over.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import IO, Any, Final

from metercast.devicelists.records import Given, Row, put
from metercast.devicelists.xml_records import xml_fragment, xml_records
from metercast.domain.problem import InvalidField, Problem

DEVICE: Final = "GXDLMSDevice"
_NET: Final = "Gurux.Net.GXNet"
_TCP: Final = "1"
_FRAMINGS: Final[dict[str, str | None]] = {"0": "hdlc", "HDLC": "hdlc", "1": "wrapper", "WRAPPER": "wrapper"}
_AUTHENTICATIONS: Final[dict[str, str | None]] = {
    "None": "none",
    "Low": "lls",
    "High": None,
    "HighMD5": "hls-md5",
    "HighSHA1": "hls-sha1",
    "HighGMAC": "hls-gmac",
    "HighSHA256": "hls-sha256",
    "HighECDSA": None,
}
_PROTECTIONS: Final[dict[str, str | None]] = {
    "None": "none",
    "Authentication": "authenticated",
    "Encryption": "encrypted",
    "AuthenticationEncryption": "both",
}
_SUITES: Final[dict[str, str | None]] = {
    name: str(number) for number in range(3) for name in (f"Suite{number}", str(number))
}
_MAX_SHORT: Final = 0x80


def gurux_rows(file: IO[bytes], has_profile: bool = False) -> Iterator[Row]:
    """InvalidField where the file is no XML.

    `has_profile`: the meters get a profile, which says what their clocks mean by a deviation.
    """
    for line, values in xml_records(file, DEVICE):
        given = Given(values)
        try:
            if given.truth("UtcTimeZone") and not has_profile:
                reason = "its deviations have the other sign: name a profile that says so"
                raise InvalidField.secret("UtcTimeZone", reason)
            yield line, _record(given)
        except Problem as problem:
            yield line, problem


def _record(given: Given) -> dict[str, Any]:
    _refuse(given)
    record: dict[str, Any] = {}
    put(record, "deviceId", given.required("Name"))
    _connection(given, record)
    put(record, "clientSap", given.number("ClientAddress", 16))
    put(record, "authentication", given.one_of("Authentication", _AUTHENTICATIONS, "None"))
    put(record, "protection", given.one_of("Security", _PROTECTIONS, "None"))
    put(record, "securitySuite", int(given.one_of("SecuritySuite", _SUITES, "Suite0")))
    put(record, "clientSystemTitle", given.system_title("SystemTitle"))
    put(record, "serverSystemTitle", given.system_title("ServerSystemTitle"))
    put(record, "password", _password(given))
    put(record, "encryptionKey", given.key("BlockCipherKey"))
    put(record, "authenticationKey", given.key("AuthenticationKey"))
    put(record, "broadcastKey", given.key("BroadcastKey"))
    return record


def _refuse(given: Given) -> None:
    """What would make a meter of another kind of the record than it is."""
    if given.truth("PreEstablished"):
        raise InvalidField.secret("PreEstablished", "pre-established associations are not supported")
    names = given.text("UseLogicalNameReferencing")
    if names is not None and not given.truth("UseLogicalNameReferencing"):
        raise InvalidField.secret("UseLogicalNameReferencing", "short names are not supported")
    if (given.text("HDLCAddressing") or "0") not in ("0", "Default"):
        raise InvalidField("HDLCAddressing", given.text("HDLCAddressing"), "only the default addressing is known")


def _connection(given: Given, record: dict[str, Any]) -> None:
    media = given.required("MediaType")
    if media != _NET:
        raise InvalidField("MediaType", media, f"only {_NET} is a connection that Metercast can make")
    try:
        settings = Given(xml_fragment(given.required("MediaSettings")))
    except InvalidField:
        raise InvalidField.secret("MediaSettings", "no settings of Gurux.Net") from None
    if settings.truth("Server"):
        raise InvalidField.secret("MediaSettings.Server", "a meter that dials in can't be imported")
    if (settings.text("Protocol") or _TCP) != _TCP:
        raise InvalidField("MediaSettings.Protocol", settings.text("Protocol"), "only TCP is supported")
    put(record, "host", settings.required("IP"))
    put(record, "port", settings.number("Port", 4059))
    default = "1" if given.truth("UseWrapper") else "0"
    framing = given.one_of("InterfaceType", _FRAMINGS, default)
    put(record, "framing", framing)
    logical, physical = given.number("LogicalAddress", 0), given.number("PhysicalAddress", 1)
    if framing == "wrapper":
        put(record, "serverSap", physical)
        return
    size = given.number("ServerAddressSize", 0)
    if size not in (0, 1, 2, 4):
        raise InvalidField("ServerAddressSize", str(size), "an HDLC address has 1, 2 or 4 octets")
    if size == 0:
        size = 4 if max(logical, physical) >= _MAX_SHORT else 2 if logical else 1
    put(record, "addressSize", size)
    put(record, "serverSap", logical if size > 1 else physical)
    if size > 1:
        put(record, "physicalDevice", physical)
    hdlc = record["connection"]["hdlc"]
    hdlc |= {
        "transmitSize": given.number("MaxInfoTX", 128),
        "receiveSize": given.number("MaxInfoRX", 128),
        "transmitWindow": given.number("WindowSizeTX", 1),
        "receiveWindow": given.number("WindowSizeRX", 1),
        "frameDelaySeconds": given.number("FrameDelay", 0) / 1000,
    }


def _password(given: Given) -> str | None:
    octets = given.text("HexPassword")
    if octets is None:
        return given.text("Password")
    try:
        return f"hex:{base64.b64decode(octets, validate=True).hex()}"
    except binascii.Error:
        raise InvalidField.secret("HexPassword", "not base64") from None
