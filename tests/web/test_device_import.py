"""Imports: all of the lines or none, with a report of those that will not do."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.web.conftest import Api, open_api

from metercast.config import Config
from metercast.domain.meter import AssociationSecrets
from metercast.engine.import_formats import COLUMNS, MAX_LINE

CSV = "text/csv"
PUBLIC_KEY = (  # on P-384: "Suite B Implementer's Guide to FIPS 186-3 (ECDSA)"
    "1FBAC8EEBD0CBF35640B39EFE0808DD774DEBFF20A2A329E91713BAF7D7F3C3E81546D883730BEE7E48678F857B02CA0"
    "EB213103BD68CE343365A8A4C3D4555FA385F5330203BDD76FFAD1F3AFFB95751C132007E1B240353CB0A4CF1693BDF9"
)
NDJSON = "application/x-ndjson"


async def _import(api: Api, content: Any, media_type: str = CSV) -> httpx.Response:
    return await api.client.post("/devices/import", content=content, headers={"Content-Type": media_type})


async def test_csv_with_every_column(idle_api: Api) -> None:
    values = {
        "deviceId": "meter,1",
        "host": "10.0.0.1",
        "port": "4060",
        "framing": "hdlc",
        "addressSize": "2",
        "physicalDevice": "20",
        "channel": "gw-1",
        "maxSessions": "3",
        "serverSap": "17",
        "profile": "generic",
        "timeZone": "Europe/Amsterdam",
        "clientSap": "1",
        "authentication": "hls-gmac",
        "protection": "both",
        "securitySuite": "2",
        "clientSystemTitle": "4D43530000000001",
        "keySet": "unicast",
        "dedicatedCiphering": "TRUE",
        "generalProtection": "false",
        "hlsMethod": "aes-128-ecb",
        "serverPublicKey": PUBLIC_KEY,
        "password": 'p"w',
        "encryptionKey": "0A" * 32,
        "authenticationKey": "0B" * 32,
        "broadcastKey": "0C" * 32,
        "masterKey": "0D" * 32,
        "signingKey": "01" * 48,
        "serverSystemTitle": "4D4D4D0000BC614E",
        "logicalDeviceName": "LDN1",
    }
    assert set(values) == set(COLUMNS)
    cells = ['"' + value.replace('"', '""') + '"' for value in values.values()]
    response = await _import(idle_api, f"{','.join(values)}\r\n{','.join(cells)}\r\n")
    assert (response.status_code, response.json()) == (200, {"lines": 1, "created": 1, "updated": 0})
    view = (await idle_api.client.get("/devices/meter%2C1")).json()
    assert view["connection"] == {
        "type": "tcp",
        "host": "10.0.0.1",
        "port": 4060,
        "framing": "hdlc",
        "hdlc": {
            "addressSize": 2,
            "physicalDevice": 20,
            "transmitSize": 128,
            "receiveSize": 128,
            "transmitWindow": 1,
            "receiveWindow": 1,
            "pollAfterSeconds": 5.0,
            "frameDelaySeconds": 0.0,
            "wakeUpOctets": None,
            "wakeUpSeconds": 0.0,
        },
        "channel": "gw-1",
        "maxSessions": 3,
        "connectTimeoutSeconds": None,
        "progressTimeoutSeconds": None,
    }
    assert view["associations"] == {
        "management": {
            "clientSap": 1,
            "authentication": "hls-gmac",
            "protection": "both",
            "securitySuite": 2,
            "clientSystemTitle": "4D43530000000001",
            "keySet": "unicast",
            "dedicatedCiphering": True,
            "generalProtection": False,
            "hlsMethod": "aes-128-ecb",
            "serverPublicKey": PUBLIC_KEY,
        }
    }
    assert view["identity"] == {"serverSystemTitle": "4D4D4D0000BC614E", "logicalDeviceName": "LDN1"}
    assert (view["serverSap"], view["timeZone"]) == (17, "Europe/Amsterdam")
    opened = idle_api.parts.vault.open(await idle_api.parts.store.get_device("meter,1"))
    keys = ("0A" * 32, "0B" * 32, "0C" * 32, "0D" * 32, "01" * 48)
    assert opened.secrets == {"management": AssociationSecrets('p"w', *keys)}


async def test_an_empty_cell_is_as_if_left_out(idle_api: Api) -> None:
    header = "deviceId,host,clientSap,authentication,password"
    assert (await _import(idle_api, f"{header}\nm,h,1,lls,pw\n")).status_code == 200
    response = await _import(idle_api, f"\ufeff{header}\n\nm,h2,1,lls,\nother,h,,,")
    assert response.json() == {"lines": 2, "created": 1, "updated": 1}
    view = (await idle_api.client.get("/devices/m")).json()
    assert (view["connection"]["host"], view["secrets"]) == ("h2", {"management": ["password"]})
    assert (await idle_api.client.get("/devices/other")).json()["associations"] == {}


async def test_ndjson_takes_what_put_takes(idle_api: Api) -> None:
    lines = [
        {"deviceId": "a/b", "connection": {"host": "h"}, "associations": {"management": {"password": "pw"}}},
        {"deviceId": "ü", "connection": {"host": "h"}, "timeZone": "Europe/Amsterdam"},
    ]
    response = await _import(idle_api, "\n".join(map(json.dumps, lines)), NDJSON)
    assert response.json() == {"lines": 2, "created": 2, "updated": 0}
    lines[0]["associations"] = {"management": {"password": None}}
    assert (await _import(idle_api, json.dumps(lines[0]), NDJSON)).json()["updated"] == 1
    assert (await idle_api.client.get("/devices/a%2Fb")).json()["secrets"] == {}


async def test_bad_lines_are_reported_and_nothing_is_imported(idle_api: Api) -> None:
    await idle_api.register("old")
    before = await idle_api.stored()
    text = """deviceId,host,port,password,encryptionKey
good,h,4059,,
,h,4059,,
m-1,,4059,,
m-2,h,70000,,
m-3,h,4059,hunter2,hunter2
m-4,h
good,h,4059,,
m-5,"h,4059,hunter2,
m-6,h,hunter,,
"""
    response = await _import(idle_api, text)
    problem = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["title"] == "Invalid lines"
    assert problem["errorCount"] == 8
    assert [(error["line"], error["path"], error.get("received")) for error in problem["errors"]] == [
        (3, "deviceId", None),
        (4, "connection.host", None),
        (5, "connection.port", "70000"),
        (6, "associations.management.encryptionKey", None),
        (7, "line", None),
        (8, "deviceId", "good"),
        (9, "line", None),
        (10, "connection.port", "hunter"),
    ]
    assert "hunter2" not in response.text
    assert await idle_api.stored() == before


async def test_bad_lines_of_ndjson(idle_api: Api) -> None:
    lines = ["[1]", "{", '{"connection": {"host": "h"}}', '{"deviceId": 5}', '{"deviceId": "m", "zork": "hunter2"}']
    response = await _import(idle_api, "\n".join(lines), NDJSON)
    errors = response.json()["errors"]
    assert [(error["line"], error["path"]) for error in errors] == [
        (1, "record"),
        (2, "line"),
        (3, "deviceId"),
        (4, "deviceId"),
        (5, "zork"),
    ]
    assert "hunter2" not in response.text


async def test_the_report_is_bounded(idle_api: Api) -> None:
    text = "deviceId,host\n" + "".join(f"m-{number},\n" for number in range(5000))
    problem = (await _import(idle_api, text)).json()
    assert (len(problem["errors"]), problem["errorCount"]) == (100, 5000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("deviceId,host,zork\n", "no such column"),
        ("deviceId,host,host\n", "the column stands twice"),
        ("deviceId\n", "the column host is required"),
        ("deviceId;host\nm;h\n", "no such column"),
        ("deviceId,host\n", "no meter in it"),
        (b"deviceId,host\nm\xff,h\n", "not UTF-8"),
        ("deviceId,host\nm," + "h" * MAX_LINE + "\n", f"longer than {MAX_LINE} octets"),
    ],
)
async def test_a_file_that_will_not_do(idle_api: Api, text: str | bytes, reason: str) -> None:
    response = await _import(idle_api, text)
    assert response.status_code == 422, response.text
    assert reason in response.json()["detail"]


async def test_a_line_without_end_is_not_waited_for(idle_api: Api) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100:
            sent += 1
            yield b"x" * 10_000

    assert (await _import(idle_api, endless())).status_code == 422


async def test_the_limit_of_meters(config: Config) -> None:
    async with open_api(replace(config, max_devices_per_import=3), start=False) as api:
        lines = [f"m-{number},h\n" for number in range(4)]
        assert (await _import(api, "deviceId,host\n" + "".join(lines[:3]))).json()["created"] == 3
        over = await _import(api, "deviceId,host\n" + "".join(lines))
        assert (over.status_code, "more than 3 meters" in over.json()["detail"]) == (422, True)


async def test_other_media_types(idle_api: Api) -> None:
    for media_type in ("application/json", "text/plain", ""):
        assert (await _import(idle_api, "x", media_type)).status_code == 415


async def test_a_meter_that_changes_meanwhile_is_not_overwritten_with_what_it_was(idle_api: Api) -> None:
    header = "deviceId,host,clientSap,password\n"
    await _import(idle_api, header + "m,h,1,old\n")

    async def slowly() -> AsyncIterator[bytes]:
        yield (header + "m,h2,1,\n").encode()
        yield "".join(f"x-{number},h,,\n" for number in range(600)).encode()  # more than one batch: m was looked up
        changed = {"connection": {"host": "h"}, "associations": {"management": {"clientSap": 1, "password": "new"}}}
        assert (await idle_api.client.put("/devices/m", json=changed)).status_code == 200
        yield b"y,h,,\n"

    response = await _import(idle_api, slowly())
    assert (response.status_code, "'m' changed" in response.json()["detail"]) == (409, True)
    opened = idle_api.parts.vault.open(await idle_api.parts.store.get_device("m"))
    assert opened.secrets["management"].password == "new"
    assert (await idle_api.client.get("/devices/y")).status_code == 404


async def test_ten_thousand_meters(idle_api: Api) -> None:
    count = 10_000 // idle_api.slowness
    text = "deviceId,host,clientSap,authentication,password\n" + "".join(
        f"m-{number:05},10.0.0.1,1,lls,secret{number}\n" for number in range(count)
    )
    response = await _import(idle_api, text)
    assert response.json() == {"lines": count, "created": count, "updated": 0}
    assert await idle_api.parts.store.count_devices() == count
