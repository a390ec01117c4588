"""POST /tasks and what can be asked and done afterwards."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.web.conftest import Api

from metercast.store.keys import Role


def _later(**delta: int) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


async def test_a_task_goes_in_and_every_device_comes_back(api: Api) -> None:
    await api.register("m-1", "m-2", "bad-3")
    response = await api.submit("m-1", "m-2", "bad-3", requestedBy="billing", priority=7)
    task = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/tasks/{task['taskId']}"
    assert "devices" not in task
    assert "Idempotent-Replayed" not in response.headers
    ended = await api.ended(task["taskId"])
    assert (ended["status"], ended["outcome"]) == ("COMPLETED", "PARTIAL")
    assert ended["counts"] == {"total": 3, "pending": 0, "sent": 0, "success": 2, "failed": 1, "cancelled": 0}
    assert (ended["priority"], ended["requestedBy"]) == (7, "billing")
    whole = (await api.client.get(f"/tasks/{task['taskId']}")).json()
    assert list(whole)[-1] == "devices"
    assert {name: value for name, value in whole.items() if name != "devices"} == ended
    assert [(each["deviceId"], each["commandStatus"], each["error"]) for each in whole["devices"]] == [
        ("m-1", "SUCCESS", None),
        ("m-2", "SUCCESS", None),
        ("bad-3", "FAILED", "ReadWriteDenied"),
    ]


async def test_one_device_shows_its_attempts_and_its_result(api: Api) -> None:
    await api.register("m-1", "bad-2")
    task_id = (await api.submit("m-1", "bad-2")).json()["taskId"]
    await api.ended(task_id)
    good = (await api.client.get(f"/tasks/{task_id}/devices/m-1")).json()
    assert (good["result"]["differenceSeconds"], good["result"]["deviationMinutes"]) == (0.0, 0)
    assert [attempt["error"] for attempt in good["attemptsMade"]] == [None]
    bad = (await api.client.get(f"/tasks/{task_id}/devices/bad-2")).json()
    assert (bad["error"], bad["errorDetail"]) == ("ReadWriteDenied", "the meter says no")
    assert [attempt["error"] for attempt in bad["attemptsMade"]] == ["ReadWriteDenied"]
    errors = (await api.client.get(f"/tasks/{task_id}/errors")).json()
    assert errors == {"errors": [{"commandStatus": "FAILED", "error": "ReadWriteDenied", "devices": 1}]}


@pytest.mark.parametrize("scheduled_at", [None, "2020-01-01T00:00:00Z", "2020-01-01T02:00:00+02:00"])
async def test_a_time_that_is_absent_or_past_means_now(api: Api, scheduled_at: str | None) -> None:
    await api.register("m-1")
    before = datetime.now(UTC)
    task = (await api.submit("m-1", scheduledAt=scheduled_at)).json()
    assert before <= datetime.fromisoformat(task["scheduledAt"]) <= datetime.now(UTC)
    assert (await api.ended(task["taskId"]))["status"] == "COMPLETED"


async def test_a_future_task_waits_and_its_expiry_counts_from_the_due_time(api: Api) -> None:
    await api.register("m-1")
    due = datetime(2031, 5, 8, 4, tzinfo=UTC)
    task = (await api.submit("m-1", scheduledAt="2031-05-08T06:00:00+02:00")).json()
    assert task["status"] == "QUEUED"
    assert datetime.fromisoformat(task["scheduledAt"]) == due
    assert datetime.fromisoformat(task["expiresAt"]) == due + timedelta(hours=1)  # READ_CLOCK's own
    assert task["scheduledAt"].endswith("Z")


async def test_the_retry_policy_is_the_servers_where_the_task_is_silent(idle_api: Api) -> None:
    await idle_api.register("m-1")
    silent = (await idle_api.submit("m-1")).json()
    assert silent["retry"] == {"maxAttempts": 3, "initialDelaySeconds": 30.0, "maxDelaySeconds": 3600.0}
    partly = (await idle_api.submit("m-1", retry={"maxAttempts": 9})).json()
    assert partly["retry"] == {"maxAttempts": 9, "initialDelaySeconds": 30.0, "maxDelaySeconds": 3600.0}


async def test_unknown_devices_end_failed_where_they_are_allowed(api: Api) -> None:
    await api.register("m-1")
    task_id = (await api.submit("m-1", "nobody", allowUnknown=True)).json()["taskId"]
    ended = await api.ended(task_id)
    assert ended["counts"]["failed"] == 1
    device = (await api.client.get(f"/tasks/{task_id}/devices/nobody")).json()
    assert (device["commandStatus"], device["error"]) == ("FAILED", "UnknownDevice")


async def test_a_hundred_thousand_ids_go_in_with_one_request(idle_api: Api) -> None:
    ids = [f"meter-{number:06}" for number in range(100_000 // idle_api.slowness)]
    response = await idle_api.submit(*ids, allowUnknown=True, scheduledAt=_later(hours=1))
    assert response.status_code == 201
    assert response.json()["counts"]["total"] == len(ids)
    task_id = response.json()["taskId"]
    whole = (await idle_api.client.get(f"/tasks/{task_id}")).json()
    assert [each["deviceId"] for each in whole["devices"]] == ids


async def test_cancel_pause_and_resume(idle_api: Api) -> None:
    await idle_api.register("m-1", "m-2")
    task_id = (await idle_api.submit("m-1", "m-2", scheduledAt=_later(hours=1))).json()["taskId"]

    async def act(verb: str) -> Any:
        return await idle_api.client.post(f"/tasks/{task_id}/{verb}")

    assert (await act("pause")).json()["status"] == "PAUSED"
    assert (await act("pause")).status_code == 409
    assert (await act("resume")).json()["status"] == "QUEUED"
    refused = await act("resume")
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert refused.json()["detail"] == f"cannot resume task {task_id}: it is QUEUED"
    cancelled = (await act("cancel")).json()
    assert (cancelled["status"], cancelled["outcome"], cancelled["counts"]["cancelled"]) == (
        "CANCELLED",
        "CANCELLED",
        2,
    )
    assert [(await act(verb)).status_code for verb in ("cancel", "pause", "resume")] == [409, 409, 409]


async def test_retry_failed_makes_a_new_task_of_the_failed_devices(api: Api) -> None:
    await api.register("m-1", "bad-2", "bad-3")
    parent = (await api.submit("m-1", "bad-2", "bad-3", commandParams={"obis": "0.0.1.0.0.255"}, priority=8)).json()
    await api.ended(parent["taskId"])
    response = await api.client.post(f"/tasks/{parent['taskId']}/retry-failed", headers={"Idempotency-Key": "r"})
    child = response.json()
    assert response.status_code == 201
    assert child["parentTaskId"] == parent["taskId"]
    for name in ("commandId", "commandType", "commandParams", "priority", "retry"):
        assert child[name] == parent[name]
    ended = await api.ended(child["taskId"])
    assert (ended["counts"]["total"], ended["outcome"]) == (2, "FAILED")
    again = await api.client.post(f"/tasks/{parent['taskId']}/retry-failed", headers={"Idempotency-Key": "r"})
    assert (again.json()["taskId"], again.headers["Idempotent-Replayed"]) == (child["taskId"], "true")
    other = await api.client.post(f"/tasks/{child['taskId']}/retry-failed", headers={"Idempotency-Key": "r"})
    assert other.status_code == 409


async def test_retry_failed_needs_a_task_that_is_over_and_has_failures(api: Api) -> None:
    await api.register("m-1")
    waiting = (await api.submit("m-1", scheduledAt=_later(hours=1))).json()["taskId"]
    response = await api.client.post(f"/tasks/{waiting}/retry-failed")
    assert (response.status_code, "is not over" in response.json()["detail"]) == (409, True)
    fine = (await api.submit("m-1")).json()["taskId"]
    await api.ended(fine)
    response = await api.client.post(f"/tasks/{fine}/retry-failed")
    assert (response.status_code, "no failed device" in response.json()["detail"]) == (409, True)
    assert (await api.client.post("/tasks/none/retry-failed")).status_code == 404


class TestIdempotency:
    async def test_same_key_and_body_is_the_same_task(self, api: Api) -> None:
        await api.register("m-1")
        key = {"Idempotency-Key": "order 17"}
        first = await api.submit("m-1", headers=key, scheduledAt="2031-01-01T00:00:00Z", retry={"maxAttempts": 2})
        # Written in another order, another zone and with the defaults spelt out, it still says the same.
        body = {
            "retry": {"maxAttempts": 2},
            "scheduledAt": "2031-01-01T01:00:00+01:00",
            "devices": ["m-1"],
            "commandType": "READ_CLOCK",
            "commandId": "c-1",
            "commandParams": None,
            "priority": 4,
        }
        second = await api.client.post("/tasks", json=body, headers=key)
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.json()["taskId"] == first.json()["taskId"]
        assert second.headers["Idempotent-Replayed"] == "true"
        assert len((await api.client.get("/tasks")).json()["tasks"]) == 1

    async def test_same_key_and_another_body_is_a_conflict(self, api: Api) -> None:
        await api.register("m-1", "m-2")
        key = {"Idempotency-Key": "order 17"}
        first = await api.submit("m-1", headers=key)
        second = await api.submit("m-2", headers=key)
        assert second.status_code == 409
        assert first.json()["taskId"] in second.json()["detail"]
        assert len((await api.client.get("/tasks")).json()["tasks"]) == 1

    async def test_a_repeated_request_is_answered_though_it_would_no_longer_validate(self, api: Api) -> None:
        await api.register("m-1")
        key = {"Idempotency-Key": "once"}
        expires = _later(seconds=1)
        first = await api.submit("m-1", headers=key, expiresAt=expires)
        await api.ended(first.json()["taskId"])
        assert (await api.client.delete("/devices/m-1")).status_code == 204
        await asyncio.sleep((datetime.fromisoformat(expires) - datetime.now(UTC)).total_seconds())
        second = await api.submit("m-1", headers=key, expiresAt=expires)
        assert (second.status_code, second.json()["taskId"]) == (201, first.json()["taskId"])

    async def test_many_at_once_make_one_task(self, api: Api) -> None:
        await api.register("m-1")
        responses = await asyncio.gather(*(api.submit("m-1", headers={"Idempotency-Key": "k"}) for _ in range(20)))
        assert {response.status_code for response in responses} == {201}
        assert len({response.json()["taskId"] for response in responses}) == 1
        assert sum("Idempotent-Replayed" not in response.headers for response in responses) == 1

    async def test_keys_of_two_callers_do_not_meet(self, api: Api) -> None:
        await api.register("m-1")
        callers = [await api.key(Role.OPERATOR), await api.key(Role.OPERATOR)]
        tasks = [(await api.submit("m-1", headers=each | {"Idempotency-Key": "k"})).json() for each in callers]
        assert tasks[0]["taskId"] != tasks[1]["taskId"]

    @pytest.mark.parametrize("key", ["", "x" * 256, "tab\tin it"])
    async def test_a_key_that_is_none(self, api: Api, key: str) -> None:
        await api.register("m-1")
        response = await api.submit("m-1", headers={"Idempotency-Key": key})
        assert response.status_code == 422
        assert response.json()["errors"][0]["path"] == "Idempotency-Key"


class TestFinding:
    async def test_by_each_field(self, idle_api: Api) -> None:
        await idle_api.register("m-1", "m-2")
        one = (await idle_api.submit("m-1", commandId="one")).json()
        two = (await idle_api.submit("m-2", commandId="two", commandType="GET_TOU", scheduledAt=_later(hours=1))).json()

        async def found(**query: str) -> list[str]:
            response = await idle_api.client.get("/tasks", params=query)
            assert response.status_code == 200, response.text
            return [task["taskId"] for task in response.json()["tasks"]]

        assert await found() == [two["taskId"], one["taskId"]]
        assert await found(commandId="one") == [one["taskId"]]
        assert await found(deviceId="m-2") == [two["taskId"]]
        assert await found(status="QUEUED") == [two["taskId"]]
        assert await found(commandType="READ_CLOCK") == [one["taskId"]]
        assert await found(**{"from": two["createdAt"]}) == [two["taskId"]]
        assert await found(to=two["createdAt"]) == [one["taskId"]]
        assert await found(commandId="one", deviceId="m-2") == []

    async def test_pages_of_tasks_and_of_devices(self, idle_api: Api) -> None:
        ids = [f"m-{number}" for number in range(25)]
        await idle_api.register(*ids)
        tasks = [(await idle_api.submit(*ids)).json()["taskId"] for _ in range(5)]
        for path, name, identity, expected in (
            ("/tasks", "tasks", "taskId", tasks[::-1]),
            (f"/tasks/{tasks[0]}/devices", "devices", "deviceId", ids),
            ("/devices", "devices", "deviceId", sorted(ids)),
        ):
            seen: list[str] = []
            cursor: dict[str, str] = {}
            while True:
                page = (await idle_api.client.get(path, params={"limit": "4"} | cursor)).json()
                assert 1 <= len(page.get(name, [])) <= 4, page
                seen += [each[identity] for each in page[name]]
                if page["nextCursor"] is None:
                    break
                cursor = {"cursor": page["nextCursor"]}
            assert seen == expected

    async def test_devices_by_status_error_and_time(self, api: Api) -> None:
        await api.register("m-1", "bad-2")
        task_id = (await api.submit("m-1", "bad-2")).json()["taskId"]
        await api.ended(task_id)

        async def found(**query: str) -> list[str]:
            response = await api.client.get(f"/tasks/{task_id}/devices", params=query)
            return [device["deviceId"] for device in response.json()["devices"]]

        assert await found() == ["m-1", "bad-2"]
        assert await found(status="FAILED") == ["bad-2"]
        assert await found(error="ReadWriteDenied") == ["bad-2"]
        assert await found(error="Timeout") == []
        assert await found(updatedSince=_later(hours=1)) == []
        assert await found(updatedSince=_later(hours=-1)) == ["m-1", "bad-2"]
