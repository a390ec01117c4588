"""Secrets alone for meters that are registered: all of the lines or none, and all else of the record stays."""

from datetime import UTC, datetime
from typing import Any

import httpx
from tests.web.conftest import Api

from metercast.domain.meter import AssociationSecrets, Secrets
from metercast.domain.replacement import SecretKind
from metercast.domain.secret_changes import promote, stage

CSV, NDJSON = "text/csv", "application/x-ndjson"
KEY_A, KEY_B, KEY_C, KEY_D = ("0A" * 16, "0B" * 16, "0C" * 16, "0D" * 16)
NOW = datetime(2026, 5, 8, tzinfo=UTC)


async def _import(api: Api, content: str, media_type: str = NDJSON, only: str = "secrets") -> httpx.Response:
    query, headers = {"only": only}, {"Content-Type": media_type}
    return await api.client.post("/devices/import", params=query, content=content, headers=headers)


async def _register(api: Api, device_id: str = "m") -> dict[str, Any]:
    management = {
        "clientSap": 1,
        "authentication": "hls-gmac",
        "protection": "both",
        "clientSystemTitle": "4D43530000000001",
        "encryptionKey": KEY_A,
        "authenticationKey": KEY_B,
    }
    reading = {"clientSap": 2, "authentication": "lls", "password": "read"}
    record = {
        "connection": {"host": "10.0.0.1", "channel": "gw-1", "maxSessions": 3},
        "timeZone": "Europe/Amsterdam",
        "identity": {"serverSystemTitle": "4D4D4D0000BC614E"},
        "associations": {"management": management, "reading": reading},
    }
    put = await api.client.put(f"/devices/{device_id}", json=record)
    assert put.status_code in (200, 201), put.text
    return await _shown(api, device_id)


async def _shown(api: Api, device_id: str = "m") -> dict[str, Any]:
    """Without what every change changes."""
    view: dict[str, Any] = (await api.client.get(f"/devices/{device_id}")).json()
    del view["updatedAt"]
    return view


async def _secrets(api: Api, device_id: str = "m") -> Secrets:
    return api.parts.vault.open(await api.parts.store.get_device(device_id)).secrets


async def test_only_the_secrets_that_are_given_are_replaced(idle_api: Api) -> None:
    before = await _register(idle_api)
    row = f'{{"deviceId": "m", "associations": {{"management": {{"encryptionKey": "{KEY_C}"}}}}}}\n'
    response = await _import(idle_api, row)
    assert (response.status_code, response.json()) == (200, {"lines": 1, "created": 0, "updated": 1})
    assert await _shown(idle_api) == before
    reading = AssociationSecrets(password="read")
    assert await _secrets(idle_api) == {"management": AssociationSecrets(None, KEY_C, KEY_B), "reading": reading}

    response = await _import(idle_api, f"deviceId,encryptionKey,masterKey\nm,,{KEY_D}\n", CSV)
    assert response.json() == {"lines": 1, "created": 0, "updated": 1}
    management = AssociationSecrets(encryption_key=KEY_C, authentication_key=KEY_B, master_key=KEY_D)
    assert await _secrets(idle_api) == {"management": management, "reading": reading}

    row = '{"deviceId": "m", "associations": {"management": {"masterKey": null}, "reading": {"password": "new"}}}'
    assert (await _import(idle_api, row)).status_code == 200
    secrets = await _secrets(idle_api)
    assert (secrets["management"].master_key, secrets["reading"].password) == (None, "new")


async def test_one_bad_line_keeps_all_the_others_back(idle_api: Api) -> None:
    await _register(idle_api)
    before = await _secrets(idle_api)
    good = f'{{"deviceId": "m", "associations": {{"management": {{"encryptionKey": "{KEY_C}"}}}}}}\n'
    for bad, path, reason in (
        (good.replace('"m"', '"x"'), "deviceId", "no such meter is registered"),
        (good, "deviceId", "stands in line 1 already"),
        (good.replace('"m"', '"n"').replace("management", "other"), "associations.other", "no such association"),
        (good.replace('"m"', '"n"').replace(KEY_C, "0C"), "associations.management.encryptionKey", "32"),
        ('{"deviceId": "n", "associations": {"management": {}}}', "associations.management", "length"),
        ('{"deviceId": "n", "associations": {}}', "associations", "length"),
        ('{"deviceId": "n"}', "associations", "required, and missing"),
        ('{"deviceId": "n", "serverSap": 5, "associations": {"a": {"password": "p"}}}', "serverSap", "unknown field"),
        ('{"deviceId": "n", "associations": {"management": {"clientSap": 5}}}', "associations.management", "clientSap"),
        ('{"associations": {"management": {"password": "p"}}}', "deviceId", "required"),
    ):
        await _register(idle_api, "n")
        response = await _import(idle_api, good + bad)
        assert response.status_code == 422, bad
        (error,) = response.json()["errors"]
        assert (error["line"], error["path"]) == (2, path)
        assert reason in error["reason"]
        assert KEY_C not in response.text
        assert await _secrets(idle_api) == before
    response = await _import(idle_api, f"deviceId,host,encryptionKey\nm,10.0.0.9,{KEY_C}\n", CSV)
    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "connection")
    assert (await _import(idle_api, f"encryptionKey\n{KEY_C}\n", CSV)).status_code == 422
    assert (await _import(idle_api, "\n")).status_code == 422
    assert (await _import(idle_api, good, only="keys")).status_code == 422
    assert (await _import(idle_api, good, "text/plain")).status_code == 415
    assert await _secrets(idle_api) == before


async def test_a_key_that_metercast_made_or_is_replacing_is_not_lost(idle_api: Api) -> None:
    await _register(idle_api)
    kind, stored = SecretKind.ENCRYPTION_KEY, await idle_api.parts.store.get_device("m")
    secrets = dict(idle_api.parts.vault.open(stored).secrets)
    secrets["management"] = stage(secrets["management"], kind, KEY_C, NOW, "task-1")
    assert await idle_api.parts.store.replace_secrets("m", stored.sealed, idle_api.parts.vault.seal("m", secrets))
    for value in (f'"{KEY_D}"', "null"):
        row = f'{{"deviceId": "m", "associations": {{"management": {{"encryptionKey": {value}}}}}}}\n'
        response = await _import(idle_api, row)
        assert response.status_code == 422
        assert "stored nowhere else" in response.json()["errors"][0]["reason"]
        assert KEY_D not in response.text
        assert await _secrets(idle_api) == secrets

    stored = await idle_api.parts.store.get_device("m")
    secrets["management"] = promote(secrets["management"], kind, KEY_C, NOW)
    assert await idle_api.parts.store.replace_secrets("m", stored.sealed, idle_api.parts.vault.seal("m", secrets))
    row = f'{{"deviceId": "m", "associations": {{"management": {{"encryptionKey": "{KEY_D}"}}}}}}\n'
    assert (await _import(idle_api, row)).status_code == 200
    found = (await _secrets(idle_api))["management"]
    assert (found.encryption_key, found.replacement(kind).pending) == (KEY_D, KEY_C)
