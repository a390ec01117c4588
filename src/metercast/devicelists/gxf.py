"""Device lists of GXF (OSGP): a CSV of its table `dlms_device`, or the AddDeviceRequest elements of its SOAP interface.

Neither tells where a meter is reached: the platform keeps that in another database. Keys that it encrypted are refused.
"""

from collections.abc import Iterator
from typing import IO, Any, Final

from metercast.devicelists.records import Given, Row, put
from metercast.devicelists.xml_records import xml_records
from metercast.domain.problem import InvalidField, Problem

ID_COLUMN: Final = "device_identification"
DEVICE: Final = "Device"
_MANAGEMENT, _PUBLIC = 1, 16
_PORT: Final = 4059
# The strongest first: the platform takes the one that it finds first.
_OF_TABLE: Final = {
    "hls5active": "hls-gmac",
    "hls4active": "hls-sha1",
    "hls3active": "hls-md5",
    "lls1active": "lls",
}
_OF_REQUEST: Final = {"HLS5_active": "hls-gmac", "HLS4_active": "hls-sha1", "HLS3_active": "hls-md5"}


def table_record(values: dict[str, str]) -> dict[str, Any]:
    """Of a row of `dlms_device`, by column. Columns that are not named here mean nothing to Metercast."""
    given = Given(values)
    if given.text("mbus_identification_number") is not None:
        raise InvalidField.secret("mbus_identification_number", "an M-Bus device has no connection of its own")
    if given.truth("use_sn"):
        raise InvalidField.secret("use_sn", "short names are not supported")
    record = _record(given, given.required(ID_COLUMN), _OF_TABLE)
    put(record, "port", given.number("port", _PORT))
    put(record, "framing", "hdlc" if given.truth("use_hdlc") else "wrapper")
    put(record, "serverSap", given.number("logical_id", 1))
    if given.text("client_id") is not None:
        put(record, "clientSap", given.number("client_id", _MANAGEMENT))
    put(record, "host", given.text("network_address"))
    _keys(given, record, "global_encryption_unicast_key", "authentication_key", "master_key")
    return record


def gxf_request_rows(file: IO[bytes]) -> Iterator[Row]:
    """Of every Device of an AddDeviceRequest. InvalidField where the file is no XML."""
    for line, values in xml_records(file, DEVICE):
        given = Given(values)
        try:
            if given.text("Mbus_identification_number") is not None:
                raise InvalidField.secret("Mbus_identification_number", "an M-Bus device has no connection of its own")
            record = _record(given, given.required("Device_Identification"), _OF_REQUEST)
            _keys(given, record, "Global_encryption_unicast_key", "Authentication_key", "Master_key")
            yield line, record
        except Problem as problem:
            yield line, problem


def _record(given: Given, device_id: str, active: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    put(record, "deviceId", device_id)
    authentication = next((meant for name, meant in active.items() if given.truth(name)), "none")
    put(record, "authentication", authentication)
    put(record, "clientSap", _PUBLIC if authentication == "none" else _MANAGEMENT)
    put(record, "protection", "both" if authentication.startswith("hls-gmac") else "none")
    return record


def _keys(given: Given, record: dict[str, Any], encryption: str, authentication: str, master: str) -> None:
    put(record, "encryptionKey", given.key(encryption))
    put(record, "authenticationKey", given.key(authentication))
    put(record, "masterKey", given.key(master))
