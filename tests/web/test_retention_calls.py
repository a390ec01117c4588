"""Retention over the API: how many would go, and deleting them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.web.conftest import Api, open_api

from metercast.config import Config
from metercast.store.keys import Role


async def ended_task(api: Api) -> str:
    await api.register("m-1", "m-2")
    task_id: str = (await api.submit("m-1", "m-2")).json()["taskId"]
    await api.ended(task_id)
    return task_id


async def test_without_a_policy_nothing_is_asked(api: Api) -> None:
    assert (await api.client.get("/retention")).json() == {"retentionDays": None, "endedBefore": None, "tasks": None}


async def test_the_policy_is_told(config: Config) -> None:
    async with open_api(replace(config, retention_days=90)) as api:
        await ended_task(api)
        told = (await api.client.get("/retention")).json()
        assert (told["retentionDays"], told["tasks"]) == (90, 0)
        before = datetime.fromisoformat(told["endedBefore"])
        assert timedelta(days=90) <= datetime.now(UTC) - before < timedelta(days=91)


async def test_deleted_tasks_are_gone_and_open_ones_stay(api: Api) -> None:
    task_id = await ended_task(api)
    later = (await api.submit("m-1", scheduledAt="2035-01-01T00:00:00Z")).json()["taskId"]
    assert (await api.client.get("/retention?olderThanDays=0")).json()["tasks"] == 1
    answer = await api.client.post("/retention/delete", json={"olderThanDays": 0})
    assert (answer.status_code, answer.json()["tasks"], answer.json()["more"]) == (200, 1, False)
    for path in (f"/tasks/{task_id}", f"/tasks/{task_id}/devices", f"/tasks/{task_id}/devices/m-1"):
        assert (await api.client.get(path)).status_code == 404
    assert [task["taskId"] for task in (await api.client.get("/tasks")).json()["tasks"]] == [later]
    assert (await api.client.get("/tasks?deviceId=m-2")).json()["tasks"] == []
    assert (await api.client.post("/retention/delete", json={"olderThanDays": 0})).json()["tasks"] == 0
    while await api.parts.store.sweep_unsealed(1000):
        pass
    assert (await api.client.get(f"/tasks/{later}")).json()["counts"]["pending"] == 1


@pytest.mark.parametrize("days", [-1, 36501, 1.5, "1", None])
async def test_odd_numbers_of_days(api: Api, days: object) -> None:
    answer = await api.client.post("/retention/delete", json={"olderThanDays": days})
    assert answer.status_code == 422
    assert "olderThanDays" in answer.json()["detail"]


async def test_only_an_admin_deletes(api: Api) -> None:
    operator = await api.key(Role.OPERATOR)
    answer = await api.client.post("/retention/delete", json={"olderThanDays": 0}, headers=operator)
    assert answer.status_code == 403
    assert (await api.client.get("/retention", headers=operator)).status_code == 200
