"""Meters: records go in and come back without their secrets; what is left out of a PUT stays."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.web.conftest import Api

from metercast.domain.meter import AssociationSecrets, Secrets
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import promote, stage
from metercast.web import examples

KEY_A, KEY_B, KEY_C = "A0" * 16, "B1" * 16, "C2" * 16


def _record(**management: Any) -> dict[str, Any]:
    return {
        "connection": {"host": "10.1.2.3"},
        "associations": {
            "management": {"clientSap": 1, "clientSystemTitle": "4D43530000000001", **management},
        },
    }


async def _secrets(api: Api, device_id: str) -> Secrets:
    """What is really stored, opened."""
    return api.parts.vault.open(await api.parts.store.get_device(device_id)).secrets


async def test_a_record_comes_back_whole_and_without_its_secrets(idle_api: Api) -> None:
    response = await idle_api.client.put("/devices/meter-001", json=examples.METER)
    assert response.status_code == 201
    view = response.json()
    assert set(view) == set(examples.METER_VIEW)
    assert {**view, "createdAt": None, "updatedAt": None} == {
        **examples.METER_VIEW,
        "createdAt": None,
        "updatedAt": None,
    }
    assert (await idle_api.client.get("/devices/meter-001")).json() == view
    again = await idle_api.client.put("/devices/meter-001", json=examples.METER)
    assert again.status_code == 200
    assert again.json()["createdAt"] == view["createdAt"]
    assert again.json()["updatedAt"] > view["updatedAt"]


async def test_only_the_connection_is_required(idle_api: Api) -> None:
    view = (await idle_api.client.put("/devices/m", json={"connection": {"host": "h"}})).json()
    assert view["connection"] == {
        "type": "tcp",
        "host": "h",
        "port": 4059,
        "framing": "wrapper",
        "hdlc": None,
        "channel": None,
        "maxSessions": 1,
        "connectTimeoutSeconds": None,
        "progressTimeoutSeconds": None,
    }
    assert (view["associations"], view["secrets"], view["timeZone"]) == ({}, {}, "UTC")
    stored = await idle_api.parts.store.get_device("m")
    assert (stored.channel, stored.max_sessions, stored.sealed) == ("h:4059", 1, None)


async def test_a_secret_left_out_stays_and_null_removes_it(idle_api: Api) -> None:
    async def put(**management: Any) -> Any:
        response = await idle_api.client.put("/devices/m", json=_record(**management))
        assert response.status_code in (200, 201), response.text
        return response.json()["secrets"]

    assert await put(password="pw", encryptionKey=KEY_A) == {"management": ["password", "encryptionKey"]}
    assert await put(encryptionKey=KEY_B) == {"management": ["password", "encryptionKey"]}
    assert await _secrets(idle_api, "m") == {"management": AssociationSecrets("pw", KEY_B, None)}
    assert await put(password=None, authenticationKey=KEY_C) == {"management": ["encryptionKey", "authenticationKey"]}
    assert await _secrets(idle_api, "m") == {"management": AssociationSecrets(None, KEY_B, KEY_C)}
    assert await put(encryptionKey=None, authenticationKey=None) == {}
    assert (await idle_api.parts.store.get_device("m")).sealed is None


async def test_what_a_get_showed_may_be_put_back_changed(idle_api: Api) -> None:
    await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_A))
    shown = (await idle_api.client.get("/devices/m")).json()
    shown["connection"]["port"] = 4060
    put = await idle_api.client.put("/devices/m", json=shown)
    assert (put.status_code, put.json()["connection"]["port"]) == (200, 4060)
    assert (await _secrets(idle_api, "m"))["management"].encryption_key == KEY_A
    elsewhere = await idle_api.client.put("/devices/other", json=shown)
    assert (elsewhere.status_code, elsewhere.json()["errors"][0]["path"]) == (422, "deviceId")
    assert (await idle_api.client.get("/devices/other")).status_code == 404


async def test_an_association_goes_with_its_secrets(idle_api: Api) -> None:
    await idle_api.client.put("/devices/m", json=_record(password="pw"))
    renamed = _record()
    renamed["associations"]["other"] = renamed["associations"].pop("management")
    assert (await idle_api.client.put("/devices/m", json=renamed)).json()["secrets"] == {}
    assert (await idle_api.client.put("/devices/m", json=_record())).json()["secrets"] == {}


async def test_puts_at_the_same_time_lose_no_secret(idle_api: Api) -> None:
    await idle_api.client.put("/devices/m", json=_record(password="pw"))
    await asyncio.gather(
        *(idle_api.client.put("/devices/m", json=_record(**{name: KEY_A})) for name in ("encryptionKey",) * 5),
        *(idle_api.client.put("/devices/m", json=_record(**{name: KEY_B})) for name in ("authenticationKey",) * 5),
    )
    assert await _secrets(idle_api, "m") == {"management": AssociationSecrets("pw", KEY_A, KEY_B)}


@pytest.mark.parametrize(
    ("record", "path", "received"),
    [
        ({}, "connection", None),
        ({"connection": {}}, "connection.host", None),
        ({"connection": {"host": ""}}, "connection.host", ""),
        ({"connection": {"host": "h", "port": 0}}, "connection.port", "0"),
        ({"connection": {"host": "h", "port": 10**40}}, "connection.port", str(10**40)),
        ({"connection": {"host": "h", "type": "serial"}}, "connection.type", "serial"),
        ({"connection": {"host": "h", "framing": "hdcl"}}, "connection.framing", "hdcl"),
        ({"connection": {"host": "h", "framing": "hdlc"}, "serverSap": 300}, "serverSap", "300"),
        ({"connection": {"host": "h", "maxSessions": 0}}, "connection.maxSessions", "0"),
        ({"connection": {"host": "h", "hots": "x"}}, "connection.hots", None),
        ({"connection": {"host": "h"}, "timeZone": "Mars/Olympus"}, "timeZone", "Mars/Olympus"),
        ({"connection": {"host": "h"}, "timeZone": "../../etc/passwd"}, "timeZone", "../../etc/passwd"),
        ({"connection": {"host": "h"}, "profile": "acme"}, "profile", "acme"),
        ({"connection": {"host": "h"}, "deviceId": "other"}, "deviceId", "other"),
        ({"connection": {"host": "h"}, "identity": {"serverSystemTitle": "4D"}}, "identity.serverSystemTitle", "4D"),
        (_record(clientSap=0), "associations.management.clientSap", "0"),
        (_record(authentication="md5"), "associations.management.authentication", "md5"),
        (_record(protection="some"), "associations.management.protection", "some"),
        (_record(securitySuite=3), "associations.management.securitySuite", "3"),
        (_record(authentication="hls-ecdsa"), "associations.management.securitySuite", "0"),
        (_record(authentication="hls-ecdsa", securitySuite=1), "associations.management.serverPublicKey", "None"),
        (_record(authentication="hls"), "associations.management.hlsMethod", "None"),
        (_record(hlsMethod="rot13"), "associations.management.hlsMethod", "rot13"),
        (_record(dedicatedCiphering=True), "associations.management.dedicatedCiphering", "True"),
        (_record(generalProtection=True), "associations.management.generalProtection", "True"),
        (_record(keySet="broadcast", authentication="hls-gmac"), "associations.management.keySet", "broadcast"),
        (
            _record(authentication="hls-gmac", clientSystemTitle=None),
            "associations.management.clientSystemTitle",
            "None",
        ),
        ({"connection": {"host": "h"}, "associations": {f"a{n}": {} for n in range(17)}}, "associations", None),
        ({"connection": {"host": "h"}, "associations": {"": {}}}, "associations", None),
    ],
)
async def test_a_record_that_does_not_validate(
    idle_api: Api, record: dict[str, Any], path: str, received: str | None
) -> None:
    before = await idle_api.stored()
    response = await idle_api.client.put("/devices/m", json=record)
    assert response.status_code == 422, response.text
    (error,) = response.json()["errors"]
    assert error["path"] == path
    assert error.get("received") == (received if received is None else received[:100])
    assert await idle_api.stored() == before


@pytest.mark.parametrize(
    ("management", "path"),
    [
        ({"password": 12345678}, "associations.management.password"),
        ({"password": "hunter2-" * 20}, "associations.management.password"),
        ({"password": "hex:hunter2"}, "associations.management.password"),
        ({"password": {"hunter2": "hunter2"}}, "associations.management.password"),
        ({"encryptionKey": "hunter2"}, "associations.management.encryptionKey"),
        ({"authenticationKey": ["hunter2"]}, "associations.management.authenticationKey"),
        ({"signingKey": "hunter2", "securitySuite": 1}, "associations.management.signingKey"),
        ({"signingKey": "hunter2" * 2000, "securitySuite": 1}, "associations.management.signingKey"),
        ({"serverPublicKey": "hunter2", "securitySuite": 1}, "associations.management.serverPublicKey"),
        ({"serverPublicKey": ["hunter2"]}, "associations.management.serverPublicKey"),
        ({"pasword": "hunter2"}, "associations.management.pasword"),
        ({"encryption_key": "hunter2"}, "associations.management.encryption_key"),
    ],
)
async def test_an_error_never_repeats_a_secret(
    idle_api: Api, management: dict[str, Any], path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    response = await idle_api.client.put("/devices/m", json=_record(**management))
    assert response.status_code == 422, response.text
    (error,) = response.json()["errors"]
    assert error["path"] == path
    assert "received" not in error
    for text in (response.text, *capfd.readouterr()):
        assert "hunter2" not in text
        assert "12345678" not in text


@pytest.mark.parametrize(
    "record",
    [
        {"connection": {"host": "h"}, "associations": {"management": "hunter2"}},
        {"connection": {"host": "h"}, "associations": [{"password": "hunter2"}]},
        {"connection": [{"password": "hunter2"}]},
        [{"associations": {"management": {"password": "hunter2"}}}],
        {"connection": {"host": "h", "password": "hunter2"}},
        {"connection": {"host": "h"}, "password": "hunter2"},
    ],
)
async def test_nor_does_it_where_a_secret_stands_in_the_wrong_place(idle_api: Api, record: Any) -> None:
    response = await idle_api.client.put("/devices/m", json=record)
    assert response.status_code == 422
    assert "hunter2" not in response.text


async def test_ids_that_are_none(idle_api: Api) -> None:
    for raw in ("x" * 129, "a%00b", "a%0Ab", "%E2%80%A8"):
        response = await idle_api.client.put(f"/devices/{raw}", json=_record())
        assert response.status_code == 422, raw
        assert response.json()["errors"][0]["path"] == "deviceId"
    assert (await idle_api.client.put("/devices/" + "x" * 128, json=_record())).status_code == 201


async def test_a_record_is_small(idle_api: Api) -> None:
    body = json.dumps({"connection": {"host": "h"}}) + " " * (1 << 20)
    response = await idle_api.client.put("/devices/m", content=body)
    assert response.status_code == 413


async def test_deleting(idle_api: Api) -> None:
    await idle_api.register("m-1", "m-2")
    assert (await idle_api.client.delete("/devices/m-1")).status_code == 204
    assert (await idle_api.client.delete("/devices/m-1")).status_code == 404
    task_id = (await idle_api.submit("m-2")).json()["taskId"]
    refused = await idle_api.client.delete("/devices/m-2")
    assert refused.status_code == 409
    assert task_id in refused.json()["detail"]
    assert [each["deviceId"] for each in (await idle_api.client.get("/devices")).json()["devices"]] == ["m-2"]


async def test_listing_by_prefix(idle_api: Api) -> None:
    await idle_api.register("b-1", "a-1", "b-2", "ü-1")
    found = (await idle_api.client.get("/devices", params={"prefix": "b-"})).json()
    assert [each["deviceId"] for each in found["devices"]] == ["b-1", "b-2"]
    found = (await idle_api.client.get("/devices", params={"prefix": "ü"})).json()
    assert [each["deviceId"] for each in found["devices"]] == ["ü-1"]


# While a secret is replaced


async def _stage(api: Api, kind: SecretKind = SecretKind.ENCRYPTION_KEY) -> None:
    """As a session does before it sends a new key."""
    stored = await api.parts.store.get_device("m")
    secrets = api.parts.vault.open(stored).secrets
    secrets["management"] = stage(secrets["management"], kind, KEY_C, datetime(2026, 5, 8, tzinfo=UTC), "task-1")
    assert await api.parts.store.replace_secrets("m", stored.sealed, api.parts.vault.seal("m", secrets))


async def test_what_is_pending_is_shown_and_survives_every_put(idle_api: Api) -> None:
    await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_A))
    assert "replacements" not in (await idle_api.client.get("/devices/m")).json()
    await _stage(idle_api)
    shown = (await idle_api.client.get("/devices/m")).json()
    assert shown["replacements"] == {"management": {"encryptionKey": {"pendingSince": "2026-05-08T00:00:00Z"}}}
    every = dict.fromkeys(("password", "broadcastKey", "masterKey"), None)
    for record in (shown, _record(), _record(encryptionKey=KEY_A), _record(encryptionKey=KEY_A, **every)):
        put = await idle_api.client.put("/devices/m", json=record)
        assert (put.status_code, put.json()["replacements"]) == (200, shown["replacements"])
        assert KEY_C not in put.text
        assert (await _secrets(idle_api, "m"))["management"].replacement(SecretKind.ENCRYPTION_KEY).pending == KEY_C


async def test_what_is_pending_is_not_removed(idle_api: Api) -> None:
    await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_A))
    await _stage(idle_api)
    before = await _secrets(idle_api, "m")
    without = _record()
    without["associations"] = {}
    for record in (_record(encryptionKey=None), _record(encryptionKey=KEY_B), without):
        put = await idle_api.client.put("/devices/m", json=record)
        assert put.status_code == 409
        assert "associations.management.encryptionKey" in put.json()["detail"]
        assert await _secrets(idle_api, "m") == before
    line = b"deviceId,host\nm,10.0.0.1\n"
    sent = await idle_api.client.post("/devices/import", content=line, headers={"Content-Type": "text/csv"})
    assert sent.status_code == 422
    assert await _secrets(idle_api, "m") == before


async def test_a_put_does_not_hide_what_is_staged_at_the_same_time(
    idle_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_A))
    put_devices = idle_api.parts.store.put_devices
    staged: list[bool] = []

    async def staged_in_between(writes: Any) -> int:
        if not staged:
            staged.append(True)
            await _stage(idle_api)
        return await put_devices(writes)

    monkeypatch.setattr(idle_api.parts.store, "put_devices", staged_in_between)
    put = await idle_api.client.put("/devices/m", json=_record(password="pw"))
    assert put.status_code == 200
    secrets = (await _secrets(idle_api, "m"))["management"]
    assert (secrets.password, secrets.replacement(SecretKind.ENCRYPTION_KEY).pending) == ("pw", KEY_C)


async def test_a_first_broadcast_key_that_is_pending_needs_no_current_one(idle_api: Api) -> None:
    await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_A))
    await _stage(idle_api, SecretKind.BROADCAST_KEY)
    assert (await idle_api.client.put("/devices/m", json=_record())).status_code == 200
    assert (await _secrets(idle_api, "m"))["management"].pending == [SecretKind.BROADCAST_KEY]


async def test_a_key_that_metercast_made_is_not_lost_to_an_old_file(idle_api: Api) -> None:
    """An import gives the key that the meter came with, again: the one that it holds is kept beside it."""
    await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_A))
    await _stage(idle_api)
    stored = await idle_api.parts.store.get_device("m")
    secrets = idle_api.parts.vault.open(stored).secrets
    at = datetime(2026, 5, 9, tzinfo=UTC)
    secrets["management"] = promote(secrets["management"], SecretKind.ENCRYPTION_KEY, KEY_C, at)
    assert await idle_api.parts.store.replace_secrets("m", stored.sealed, idle_api.parts.vault.seal("m", secrets))
    for _ in range(2):
        assert (await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_A))).status_code == 200
        kept = (await _secrets(idle_api, "m"))["management"]
        assert (kept.encryption_key, kept.replacement(SecretKind.ENCRYPTION_KEY).pending) == (KEY_A, KEY_C)
    assert (await idle_api.client.put("/devices/m", json=_record(encryptionKey=KEY_B))).status_code == 409
    assert (await idle_api.client.put("/devices/m", json=_record(encryptionKey=None))).status_code == 409
    assert (await idle_api.client.delete("/devices/m")).status_code == 204
