"""GXF's table and requests, key files of vendors, and how they are joined."""

import io
from typing import Any, cast

import pytest

from metercast.devicelists.gxf import gxf_request_rows
from metercast.devicelists.joining import Additions
from metercast.devicelists.reading import defaults_of, form_of, rows_of
from metercast.devicelists.tables import MAX_LINE, csv_table_rows
from metercast.domain.problem import InvalidField, Problem

EK, AK, MK = "0A" * 16, "0B" * 16, "0C" * 16
TABLE = (
    "device_identification,creation_time,port,client_id,logical_id,hls3active,hls4active,hls5active,lls1active,"
    "use_hdlc,use_sn,mbus_identification_number,network_address\n"
)
REQUEST = """<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns="http://www.example.org/sm">
<soap:Body><AddDeviceRequest>
<Device><Device_Identification>E0001</Device_Identification><HLS5_active>true</HLS5_active>
<Master_key>{mk}</Master_key><Global_encryption_unicast_key>{ek}</Global_encryption_unicast_key>
<Authentication_key>{ak}</Authentication_key></Device>
<DeviceModel><Manufacturer>KAIF</Manufacturer></DeviceModel></AddDeviceRequest></soap:Body></soap:Envelope>"""


def buffered(content: bytes) -> io.BufferedReader:
    return cast("io.BufferedReader", io.BufferedReader(io.BytesIO(content)))


def table(text: str) -> list[Any]:
    return [row for _, row in csv_table_rows(io.StringIO(text, newline=""))]


def additions(text: str) -> Additions:
    return Additions(io.StringIO(text, newline=""))


def test_rows_of_dlms_device() -> None:
    smart, plain, legacy = table(
        TABLE
        + "E0001,2024-01-01,,1,1,f,f,t,f,f,f,,10.0.0.1\n"
        + "E0002,2024-01-01,4060,,16,f,f,f,f,t,f,,10.0.0.2\n"
        + "E0003,2024-01-01,,,,t,f,f,t,f,f,,\n"
    )
    assert smart == {
        "deviceId": "E0001",
        "connection": {"port": 4059, "framing": "wrapper", "host": "10.0.0.1"},
        "serverSap": 1,
        "associations": {"management": {"authentication": "hls-gmac", "clientSap": 1, "protection": "both"}},
    }
    assert plain["associations"]["management"]["clientSap"] == 16
    assert plain["connection"] == {"port": 4060, "framing": "hdlc", "host": "10.0.0.2"}
    assert legacy["associations"]["management"]["authentication"] == "hls-md5"
    assert "host" not in legacy["connection"]


@pytest.mark.parametrize(
    ("row", "path"),
    [
        (",,,,,f,f,t,f,f,f,,", "device_identification"),
        ("E1,,,,,f,f,t,f,f,t,,", "use_sn"),
        ("E1,,,,,f,f,f,f,f,f,12345678,", "mbus_identification_number"),
        ("E1,,x,,,f,f,f,f,f,f,,", "port"),
        ("E1,,,,,perhaps,f,f,f,f,f,,", "hls3active"),
        ("E1,,", "line"),
    ],
)
def test_rows_of_dlms_device_that_will_not_do(row: str, path: str) -> None:
    (problem,) = table(TABLE + row)
    assert isinstance(problem, InvalidField)
    assert problem.path == path


def test_requests_to_add_a_device() -> None:
    ((_, row),) = gxf_request_rows(io.BytesIO(REQUEST.format(mk=MK, ek=EK, ak=AK).encode()))
    assert row == {
        "deviceId": "E0001",
        "associations": {
            "management": {
                "authentication": "hls-gmac", "clientSap": 1, "protection": "both",
                "encryptionKey": EK, "authenticationKey": AK, "masterKey": MK,
            }
        },
    }  # fmt: skip


def test_a_key_that_the_platform_encrypted_is_refused_without_being_told() -> None:
    encrypted = "BC" * 48
    ((_, problem),) = gxf_request_rows(io.BytesIO(REQUEST.format(mk=MK, ek=encrypted, ak=AK).encode()))
    assert isinstance(problem, InvalidField)
    assert (problem.path, problem.received) == ("Global_encryption_unicast_key", None)
    assert encrypted not in problem.detail


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Serial Number;GUEK;AK;KEK", f"m1;{EK};{AK};{MK}"),
        ("meter_id,encryption_key,Authentication-Key,masterKey", f'"m1","{EK}","{AK.lower()}",0x{MK}'),
        ("deviceId\tEK\tGAK\tMK\tBatch", f"m1\t{' '.join(EK[at : at + 2] for at in range(0, 32, 2))}\t{AK}\t{MK}\t7"),
    ],
)
def test_key_files(header: str, row: str) -> None:
    found = additions(f"{header}\r\n{row}\r\n")
    record: dict[str, Any] = {"deviceId": "m1", "connection": {"host": "h"}}
    found.add_to(record)
    assert record["associations"]["management"] == {"encryptionKey": EK, "authenticationKey": AK, "masterKey": MK}
    assert found.unused == []
    assert found.ignored == (["Batch"] if "Batch" in header else [])


def test_a_table_may_tell_its_meters_by_their_titles() -> None:
    found = additions(f"System Title,GUEK\n4d4d4d0000bc614e,{EK}\n4d4d4d0000bc614f,{EK}\n")
    record: dict[str, Any] = {"deviceId": "m1", "identity": {"serverSystemTitle": "4d4d4d0000BC614E"}}
    found.add_to(record)
    assert found.unused == [(3, "4D4D4D0000BC614F")]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "header"),
        ("GUEK,AK\n", "header"),
        ("deviceId,Batch\nm1,2\n", "header"),
        ("deviceId,EK,GUEK\nm1,2,3\n", "header"),
        (f"deviceId,EK\nm1,{EK}\nm1,{EK}\n", "line 3: deviceId"),
        (f"deviceId,EK\n,{EK}\n", "line 2: deviceId"),
        ("deviceId,EK\nm1,0011\n", "line 2: encryptionKey"),
        ("deviceId,EK\nm1\n", "line 2: line"),
        ('deviceId,EK\n"m1,2\n', "line 2"),
        ("deviceId,host\nm1," + "x" * MAX_LINE, "line 2"),
    ],
)
def test_tables_that_will_not_do(text: str, path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        additions(text)
    assert caught.value.path == path
    assert "0011" not in caught.value.detail


def test_what_is_told_twice_must_be_the_same() -> None:
    found = additions(f"deviceId,EK,host\nm1,{EK},10.0.0.1\n")
    same: dict[str, Any] = {"deviceId": "m1", "connection": {"host": "10.0.0.1"}}
    found.add_to(same)
    other = {"deviceId": "m1", "associations": {"management": {"encryptionKey": AK}}}
    with pytest.raises(InvalidField) as caught:
        found.add_to(other)
    assert caught.value.path == "encryptionKey"
    assert AK not in caught.value.detail


def test_line_breaks_inside_quotes_keep_the_numbers_of_lines() -> None:
    rows = list(csv_table_rows(io.StringIO('deviceId,host\n"a\nb",h\n\nc,h,\n', newline="")))
    assert [line for line, _ in rows] == [2, 5]
    assert isinstance(rows[1][1], Problem)


@pytest.mark.parametrize(
    ("beginning", "form"),
    [
        (b'\xef\xbb\xbf{"deviceId"', "ndjson"),
        (b"deviceId,host", "csv"),
        (b"<?xml?><ArrayOfGXDLMSDevice>", "gurux"),
        (b"<x:AddDeviceRequest>", "gxf"),
    ],
)
def test_what_a_file_is(beginning: bytes, form: str) -> None:
    assert form_of(beginning) == form


def test_xml_of_another_kind() -> None:
    with pytest.raises(InvalidField, match="GXDLMSDevice"):
        form_of(b"<html>")


def test_everything_together() -> None:
    keys = additions(f"deviceId,EK,AK\nE0001,{EK},{AK}\n")
    where = additions("deviceId,IP address\nE0001,10.0.0.1\n")
    file = buffered((TABLE + "E0001,,,1,1,f,f,t,f,f,f,,\n").encode())
    defaults = defaults_of({"timeZone": "Europe/Amsterdam", "clientSystemTitle": "4D43530000000001", "port": "1"})
    ((line, row),) = rows_of(file, "gxf", [keys, where], defaults)
    assert not isinstance(row, Problem)
    assert (line, row["connection"]["host"], row["connection"]["port"]) == (2, "10.0.0.1", 4059)
    assert row["timeZone"] == "Europe/Amsterdam"
    assert row["associations"]["management"]["encryptionKey"] == EK


@pytest.mark.parametrize(("texts", "path"), [({"encryptionKey": EK}, "encryptionKey"), ({"colour": "red"}, "header")])
def test_defaults_that_will_not_do(texts: dict[str, str], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        defaults_of(texts)
    assert caught.value.path == path
    assert EK not in caught.value.detail


def test_ndjson_with_a_key_file() -> None:
    keys = additions(f"deviceId,EK\nm1,{EK}\n")
    file = buffered(b'{"deviceId": "m1"}\n\n[1]\n{"deviceId":\n')
    rows = list(rows_of(file, "ndjson", [keys], {}))
    assert [line for line, _ in rows] == [1, 3, 4]
    assert [isinstance(row, Problem) for _, row in rows] == [False, True, True]
    with pytest.raises(InvalidField, match="no meter"):
        list(rows_of(buffered(b""), "ndjson", [], {}))
