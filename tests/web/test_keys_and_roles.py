"""Who may do what: keys, roles, loopback, proxies and pages of other sites."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.web.conftest import Api, open_api

from metercast.config import Config
from metercast.store.keys import Role
from metercast.web.app import ROUTES
from metercast.web.openapi import call_of

READ = [
    ("GET", "/tasks"),
    ("GET", "/tasks/t"),
    ("GET", "/tasks/t/devices"),
    ("GET", "/tasks/t/errors"),
    ("GET", "/tasks/t/results"),
    ("GET", "/tasks/t/devices/d"),
    ("GET", "/devices"),
    ("GET", "/devices/d"),
    ("GET", "/metrics"),
    ("GET", "/images"),
    ("GET", "/images/i"),
    ("GET", "/retention"),
]
CHANGE = [
    ("POST", "/tasks"),
    ("POST", "/tasks/t/cancel"),
    ("POST", "/tasks/t/pause"),
    ("POST", "/tasks/t/resume"),
    ("POST", "/tasks/t/retry-failed"),
    ("PUT", "/devices/d"),
    ("PUT", "/images/i"),
    ("DELETE", "/images/i"),
    ("DELETE", "/devices/d"),
    ("POST", "/devices/import"),
    ("POST", "/traces"),
    ("GET", "/traces"),
    ("DELETE", "/traces/t"),
]
ADMIN = [("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/k"), ("POST", "/retention/delete")]
OPEN = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/schema"), ("GET", "/schema/openapi.json")]


def test_the_lists_above_name_every_call() -> None:
    listed = {Role.VIEWER: READ, Role.OPERATOR: CHANGE, Role.ADMIN: ADMIN, None: OPEN}
    assert sum(map(len, listed.values())) == len(ROUTES)
    for handler in ROUTES:
        role = call_of(handler).role
        assert {method for method, _ in listed[role]} >= set(handler.http_methods)


async def test_each_role_may_do_what_it_may_and_no_more(idle_api: Api) -> None:
    for role, allowed in ((Role.VIEWER, 1), (Role.OPERATOR, 2), (Role.ENGINEER, 2), (Role.ADMIN, 3)):
        headers = await idle_api.key(role)
        for needed, calls in enumerate((READ, CHANGE, ADMIN), start=1):
            for method, path in calls:
                response = await idle_api.client.request(method, path, headers=headers)
                if needed <= allowed:
                    assert response.status_code not in (401, 403), (role, method, path)
                else:
                    assert response.status_code == 403, (role, method, path)
                    assert response.headers["content-type"] == "application/problem+json"
                    assert role.value in response.json()["detail"]


VALUE = {"tag": "unsigned", "value": 1}
ANY_SET: dict[str, Any] = {"class": 1, "obis": "0.0.96.1.0.255", "attribute": 2, "value": VALUE}
ANY_ACTION: dict[str, Any] = {"class": 1, "obis": "0.0.96.1.0.255", "method": 1}


@pytest.mark.parametrize(
    ("command_type", "parameters"),
    [
        ("SET", ANY_SET),
        ("ACTION", ANY_ACTION),
        ("BUNDLE", {"commands": [{"command": "READ_CLOCK"}, {"command": "SET", "parameters": ANY_SET}]}),
    ],
)
async def test_any_object_is_changed_by_engineers_alone(
    idle_api: Api, command_type: str, parameters: dict[str, Any]
) -> None:
    await idle_api.register("m-1")
    body = {"commandId": "c", "commandType": command_type, "commandParams": parameters, "devices": ["m-1"]}
    lines = json.dumps({name: value for name, value in body.items() if name != "devices"}) + '\n"m-1"\n'
    operator = await idle_api.key(Role.OPERATOR)
    before = await idle_api.stored()
    for sent in ({"json": body}, {"content": lines}):
        headers = operator | ({"Content-Type": "application/x-ndjson"} if "content" in sent else {})
        response = await idle_api.client.post("/tasks", headers=headers, **sent)
        assert response.status_code == 403, response.text
        assert "needs the role engineer" in response.json()["detail"]
    assert await idle_api.stored() == before
    for role in (Role.ENGINEER, Role.ADMIN):
        response = await idle_api.client.post("/tasks", json=body, headers=await idle_api.key(role))
        assert response.status_code == 201, response.text


async def test_an_operator_reads_any_object(idle_api: Api) -> None:
    await idle_api.register("m-1")
    operator = await idle_api.key(Role.OPERATOR)
    read = {"class": 1, "obis": "0.0.96.1.0.255", "attribute": 2}
    body = {"commandId": "c", "commandType": "GET", "commandParams": read, "devices": ["m-1"]}
    assert (await idle_api.client.post("/tasks", json=body, headers=operator)).status_code == 201


async def test_what_an_engineer_sent_is_not_sent_again_by_an_operator(api: Api) -> None:
    body = {"commandId": "c", "commandType": "SET", "commandParams": ANY_SET, "devices": ["m-9"], "allowUnknown": True}
    task = (await api.client.post("/tasks", json=body, headers=await api.key(Role.ENGINEER))).json()
    await api.ended(task["taskId"])
    again = f"/tasks/{task['taskId']}/retry-failed"
    assert (await api.client.post(again, headers=await api.key(Role.OPERATOR))).status_code == 403
    assert (await api.client.post(again, headers=await api.key(Role.ENGINEER))).status_code == 201


async def test_a_refused_call_changes_nothing(idle_api: Api) -> None:
    viewer = await idle_api.key(Role.VIEWER)
    await idle_api.register("m-1")
    before = await idle_api.stored()
    assert (await idle_api.submit("m-1", headers=viewer)).status_code == 403
    response = await idle_api.client.put("/devices/m-1", json={"connection": {"host": "other"}}, headers=viewer)
    assert response.status_code == 403
    assert await idle_api.stored() == before


@pytest.mark.parametrize(
    "authorization", ["Bearer wrong", "Bearer ", "Bearer", "Basic dXNlcjpwYXNz", "mc_1_2", "Bearer mc_000000000000_x"]
)
async def test_a_wrong_key_is_refused_on_loopback_too(idle_api: Api, authorization: str) -> None:
    response = await idle_api.client.get("/tasks", headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "wrong" not in response.text
    assert (await idle_api.client.get("/tasks")).status_code == 200


async def test_a_revoked_key_is_good_no_more(idle_api: Api) -> None:
    created = (await idle_api.client.post("/keys", json={"name": "billing", "role": "viewer"})).json()
    headers = {"Authorization": f"Bearer {created['key']}"}
    assert created["key"].startswith(f"mc_{created['keyId']}_")
    assert (await idle_api.client.get("/tasks", headers=headers)).status_code == 200
    revoked = await idle_api.client.delete(f"/keys/{created['keyId']}")
    assert revoked.json()["revokedAt"] is not None
    assert (await idle_api.client.get("/tasks", headers=headers)).status_code == 401
    assert (await idle_api.client.delete(f"/keys/{created['keyId']}")).json() == revoked.json()


async def test_a_key_is_shown_once_and_stored_as_its_hash(idle_api: Api) -> None:
    key = (await idle_api.client.post("/keys", json={"name": "billing", "role": "operator"})).json()
    listed = (await idle_api.client.get("/keys")).json()["keys"]
    assert {name: value for name, value in key.items() if name != "key"} == listed[-1]
    assert key["key"] not in str(listed)
    kept = {each.key.key_id: each.secret_hash for each in await idle_api.parts.store.export_keys()}
    assert kept[key["keyId"]] == hashlib.sha256(key["key"].encode()).digest()


async def test_the_last_admin_key_stays(idle_api: Api) -> None:
    (admin,) = (await idle_api.client.get("/keys")).json()["keys"]
    assert (admin["name"], admin["role"]) == ("admin", "admin")
    assert (await idle_api.client.delete(f"/keys/{admin['keyId']}")).status_code == 409
    await idle_api.key(Role.ADMIN)
    assert (await idle_api.client.delete(f"/keys/{admin['keyId']}")).status_code == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "a"}, "role"),
        ({"name": "a", "role": "root"}, "role"),
        ({"name": "", "role": "viewer"}, "name"),
        ({"name": "a\x00", "role": "viewer"}, "name"),
        ({"name": "a", "role": "viewer", "key": "mine"}, "key"),
    ],
)
async def test_a_key_that_does_not_validate(idle_api: Api, body: dict[str, str], path: str) -> None:
    before = await idle_api.stored()
    response = await idle_api.client.post("/keys", json=body)
    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, path)
    assert await idle_api.stored() == before


class TestWithoutAKey:
    async def test_a_page_of_another_site_may_not_call(self, idle_api: Api) -> None:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:9"):
            response = await idle_api.client.post("/tasks", json={}, headers={"Origin": origin})
            assert response.status_code == 403, origin
        own = await idle_api.client.post("/tasks", json={}, headers={"Origin": "http://127.0.0.1:8080"})
        assert own.status_code == 422

    async def test_a_name_that_was_pointed_at_loopback_does_not_do(self, idle_api: Api) -> None:
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example"):
            assert (await idle_api.client.get("/tasks", headers={"Host": host})).status_code == 403
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
            assert (await idle_api.client.get("/tasks", headers={"Host": host})).status_code == 200
        headers = {"Host": "meters.example", **await idle_api.key(Role.VIEWER)}
        assert (await idle_api.client.get("/tasks", headers=headers)).status_code == 200

    async def test_nor_does_what_came_through_a_proxy(self, idle_api: Api) -> None:
        for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            assert (await idle_api.client.get("/tasks", headers={name: "1.2.3.4"})).status_code == 401

    async def test_behind_a_proxy_each_call_needs_a_key(self, config: Config) -> None:
        async with open_api(replace(config, behind_proxy=True), start=False) as api:
            for method, path in READ + CHANGE + ADMIN:
                assert (await api.client.request(method, path)).status_code == 401, path
            for method, path in OPEN:
                assert (await api.client.request(method, path)).status_code in (200, 503), path
            token = (config.data_dir / "admin.key").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            assert (await api.client.get("/keys", headers=headers)).status_code == 200
