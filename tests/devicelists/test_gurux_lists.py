"""Device lists of GXDLMSDirector: what becomes of their fields, and what is refused."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import pytest

from metercast.devicelists import xml_records
from metercast.devicelists.gurux import gurux_rows
from metercast.domain.meter import MeterRecord
from metercast.domain.problem import InvalidField, Problem
from metercast.engine.decoding import convert
from metercast.engine.meters import MeterRequest

NET = "&lt;IP&gt;10.0.0.1&lt;/IP&gt;\r\n&lt;Port&gt;4060&lt;/Port&gt;\r\n"
EK, AK = "000102030405060708090A0B0C0D0E0F", "D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
FULL = {
    "Name": "Meter 1",
    "MediaType": "Gurux.Net.GXNet",
    "MediaSettings": NET,
    "InterfaceType": "1",
    "ClientAddress": "1",
    "PhysicalAddress": "17",
    "Authentication": "HighGMAC",
    "Security": "AuthenticationEncryption",
    "SystemTitle": "4D43530000000001",
    "ServerSystemTitle": "4D4D4D0000BC614E",
    "BlockCipherKey": EK,
    "AuthenticationKey": AK,
}
HDLC = {
    "InterfaceType": "0",
    "MaxInfoTX": "256",
    "MaxInfoRX": "512",
    "WindowSizeTX": "2",
    "WindowSizeRX": "3",
    "FrameDelay": "50",
}


def document(*devices: Mapping[str, str | None], namespace: str = ' xmlns="Gurux1"') -> bytes:
    parts = []
    for device in devices:
        fields = "".join(f"<{name}>{value}</{name}>" for name, value in device.items() if value is not None)
        parts.append(
            f"<GXDLMSDevice>{fields}<Objects><GXDLMSClock><Name>inner</Name></GXDLMSClock></Objects></GXDLMSDevice>\n"
        )
    whole = f"<ArrayOfGXDLMSDevice{namespace}>\n{''.join(parts)}</ArrayOfGXDLMSDevice>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n{whole}'.encode()


def rows(content: bytes, **options: Any) -> list[Any]:
    return list(gurux_rows(io.BytesIO(content), **options))


def record(**changes: str | None) -> Any:
    ((_, row),) = rows(document(FULL | changes))
    return row


@pytest.mark.parametrize("namespace", ["", ' xmlns="Gurux1"'])
def test_a_meter_behind_a_wrapper(namespace: str) -> None:
    ((line, row),) = rows(document(FULL, namespace=namespace))
    assert line == 3
    assert row == {
        "deviceId": "Meter 1",
        "connection": {"host": "10.0.0.1", "port": 4060, "framing": "wrapper"},
        "serverSap": 17,
        "associations": {
            "management": {
                "clientSap": 1,
                "authentication": "hls-gmac",
                "protection": "both",
                "securitySuite": 0,
                "clientSystemTitle": "4D43530000000001",
                "encryptionKey": EK,
                "authenticationKey": AK,
            }
        },
        "identity": {"serverSystemTitle": "4D4D4D0000BC614E"},
    }
    row.pop("deviceId")
    assert convert(row, MeterRequest).connection.port == 4060


def test_defaults_are_those_of_the_director() -> None:
    ((_, row),) = rows(document({name: FULL[name] for name in ("Name", "MediaType", "MediaSettings")}))
    assert row["connection"] == {
        "host": "10.0.0.1",
        "port": 4060,
        "framing": "hdlc",
        "hdlc": {
            "addressSize": 1,
            "transmitSize": 128,
            "receiveSize": 128,
            "transmitWindow": 1,
            "receiveWindow": 1,
            "frameDelaySeconds": 0.0,
        },
    }
    assert row["serverSap"] == 1
    assert row["associations"]["management"] == {
        "clientSap": 16, "authentication": "none", "protection": "none", "securitySuite": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("logical", "physical", "size", "expected"),
    [
        ("0", "16", None, (1, 16, None)),
        ("1", "16", None, (2, 1, 16)),
        ("1", "8000", None, (4, 1, 8000)),
        ("0", "8000", None, (4, 0, 8000)),
        ("1", "17", "4", (4, 1, 17)),
        ("0", "17", "2", (2, 0, 17)),
    ],
)
def test_hdlc_addresses(logical: str, physical: str, size: str | None, expected: Any) -> None:
    row = record(**HDLC, LogicalAddress=logical, PhysicalAddress=physical, ServerAddressSize=size)
    hdlc = row["connection"]["hdlc"]
    assert (hdlc["addressSize"], row["serverSap"], hdlc.get("physicalDevice")) == expected
    assert [hdlc[name] for name in ("transmitSize", "receiveSize", "transmitWindow", "receiveWindow")] == [
        256,
        512,
        2,
        3,
    ]
    assert hdlc["frameDelaySeconds"] == 0.05


@pytest.mark.parametrize(
    ("changes", "password"),
    [
        ({"Password": "12345678"}, "12345678"),
        ({"HexPassword": base64.b64encode(b"\x00\xff").decode(), "Password": ""}, "hex:00ff"),
    ],
)
def test_passwords(changes: dict[str, str], password: str) -> None:
    assert record(Authentication="Low", **changes)["associations"]["management"]["password"] == password


def test_a_system_title_may_be_text_and_keys_in_groups() -> None:
    row = record(SystemTitle="GRX00001", BlockCipherKey="00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f")
    management = row["associations"]["management"]
    assert management["clientSystemTitle"] == b"GRX00001".hex().upper()
    assert management["encryptionKey"] == EK


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"Name": None}, "Name"),
        ({"MediaType": "Gurux.Serial.GXSerial"}, "MediaType"),
        ({"MediaSettings": "&lt;IP"}, "MediaSettings"),
        ({"MediaSettings": NET + "&lt;Protocol&gt;0&lt;/Protocol&gt;"}, "MediaSettings.Protocol"),
        ({"MediaSettings": NET + "&lt;Server&gt;1&lt;/Server&gt;"}, "MediaSettings.Server"),
        ({"MediaSettings": "&lt;Port&gt;1&lt;/Port&gt;"}, "IP"),
        ({"InterfaceType": "3"}, "InterfaceType"),
        ({"Authentication": "High"}, "Authentication"),
        ({"Authentication": "Highest"}, "Authentication"),
        ({"Security": "Some"}, "Security"),
        ({"ClientAddress": "one"}, "ClientAddress"),
        ({"HDLCAddressing": "1"}, "HDLCAddressing"),
        ({"PreEstablished": "true"}, "PreEstablished"),
        ({"UseLogicalNameReferencing": "false"}, "UseLogicalNameReferencing"),
        ({"UtcTimeZone": "true"}, "UtcTimeZone"),
        ({"UtcTimeZone": "maybe"}, "UtcTimeZone"),
        ({"SystemTitle": "short"}, "SystemTitle"),
        ({"BlockCipherKey": EK[:-2]}, "BlockCipherKey"),
        ({"HexPassword": "?"}, "HexPassword"),
        (HDLC | {"ServerAddressSize": "3"}, "ServerAddressSize"),
    ],
)
def test_what_can_not_be_taken_over(changes: dict[str, Any], path: str) -> None:
    problem = record(**changes)
    assert isinstance(problem, InvalidField)
    assert problem.path == path
    assert EK[:-2] not in problem.detail


def test_a_profile_tells_what_a_deviation_means() -> None:
    ((_, row),) = rows(document(FULL | {"UtcTimeZone": "true"}), has_profile=True)
    assert not isinstance(row, Problem)


def test_the_others_of_a_list_are_taken_all_the_same() -> None:
    found = rows(document(FULL, FULL | {"Name": ""}, FULL | {"Name": "Meter 3"}))
    assert [line for line, _ in found] == [3, 6, 9]  # the settings hold line ends
    assert [isinstance(row, Problem) for _, row in found] == [False, True, False]


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><GXDLMSDevice><Name>&b;</Name></GXDLMSDevice>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type"),
        (b"<ArrayOfGXDLMSDevice>", "no element found"),
        (b"", "no element found"),
        (b"<a>&b;</a>", "undefined entity"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "encoding"),
        (b"<a>\xff</a>", "not well-formed"),
        (b"<x>" * (xml_records.MAX_DEPTH + 1), "nested deeper"),
        (document(FULL).replace(b"</Name>", b"</Name><Name>b</Name>"), "stands twice"),
        (document({"Name": "x" * (xml_records.MAX_TEXT + 1)}), "longer than"),
        (document({f"N{number}": "" for number in range(xml_records.MAX_CHILDREN + 1)}), "more than"),
    ],
)
def test_files_that_will_not_do(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidField, match=reason) as caught:
        rows(content)
    assert caught.value.path.startswith("line ")


def test_a_large_list_is_read_as_its_meters_are_taken() -> None:
    class Endless(io.RawIOBase):
        read_so_far = 0

        def read(self, size: int = -1) -> bytes:
            self.read_so_far += 1
            return (b"<ArrayOfGXDLMSDevice>" if self.read_so_far == 1 else b"") + document(FULL).partition(b">\n")[
                2
            ].replace(b"</ArrayOfGXDLMSDevice>", b"").partition(b">\n")[2] * 100

    found = gurux_rows(Endless())  # type: ignore[arg-type]
    assert all(not isinstance(next(found)[1], Problem) for _ in range(1000))


def test_the_record_is_one_of_ours() -> None:
    row = record(**HDLC)
    row.pop("deviceId")
    assert isinstance(convert(row, MeterRequest), MeterRequest | MeterRecord)
