"""A bundle is no way around what holds for its members."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
from tests.web.conftest import Api, open_api

from metercast.config import Config


async def submit(api: Api, *commands: dict[str, Any], devices: int = 2) -> httpx.Response:
    ids = [f"m-{number}" for number in range(devices)]
    params = {"commands": list(commands)}
    return await api.submit(*ids, commandType="BUNDLE", commandParams=params, allowUnknown=True)


async def test_the_limit_of_a_member_is_the_bundles(config: Config) -> None:
    async with open_api(replace(config, max_devices_per_disconnect=1), start=False) as api:
        refused = await submit(api, {"command": "READ_CLOCK"}, {"command": "DISCONNECT"})
        assert refused.status_code == 422
        assert "a BUNDLE task takes at most 1" in refused.json()["detail"]
        assert (await submit(api, {"command": "READ_CLOCK"})).status_code == 201
        made = await submit(api, {"command": "DISCONNECT"}, devices=1)
        assert made.status_code == 201
        assert minutes(made.json()) == 15


def minutes(task: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(task[name]) for name in ("scheduledAt", "expiresAt"))
    return round((end - start).total_seconds() / 60)


async def test_an_error_names_the_field_of_the_member(idle_api: Api) -> None:
    keys = {"class": 64, "obis": "0.0.43.0.0.255", "attribute": 2, "value": {"tag": "enum", "value": 0}}
    refused = (await submit(idle_api, {"command": "READ_CLOCK"}, {"command": "SET", "parameters": keys})).json()
    assert refused["detail"].startswith("commandParams.commands[1].parameters.class: ")
    assert refused["detail"].endswith("received 64")
    nested = (await submit(idle_api, {"command": "BUNDLE", "parameters": {"commands": []}})).json()
    assert nested["detail"].startswith("commandParams.commands[0].command: a bundle holds no bundle")
