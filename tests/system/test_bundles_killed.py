"""Bundles under kill -9: what a member did is done once, whatever the server had time to record."""

import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.system.processes import ServerProcess, SimulatorProcess
from tests.system.stored import Stored

from metercast.simulator.log import executions, overlapping_sessions, read_log

pytestmark = pytest.mark.xdist_group("bundles killed")

METERS = 40
KILLS = 3
RETRY = {"maxAttempts": 8, "initialDelaySeconds": 0.3, "maxDelaySeconds": 1.0}
SLOW: list[dict[str, Any]] = [{"rate": 1.0, "faults": [{"kind": "delay-answers", "minimum": 0.02, "maximum": 0.12}]}]
BUNDLE = {
    "commands": [
        {"command": "READ_CLOCK"},
        {"command": "BILLING_RESET"},
        {"command": "DISCONNECT"},
        {"command": "READ_EVENTS", "parameters": {"log": 2}},
    ]
}


@pytest.mark.parametrize("stored", ["sqlite", "postgres"], indirect=True)  # other kills are on the third
def test_nothing_of_a_bundle_is_done_twice(tmp_path: Path, stored: Stored | None) -> None:
    chance = random.Random(1)
    with (
        SimulatorProcess(tmp_path, METERS, faults=SLOW) as simulator,
        ServerProcess(tmp_path, stored, log_level="warning", session_limit="20") as server,
    ):
        server.start()
        server.register(simulator)
        since = datetime.now(UTC)
        meters = [record["deviceId"] for record in simulator.records()]
        task_id = server.submit("BUNDLE", meters, commandParams=BUNDLE, retry=RETRY)
        hit: Counter[str] = Counter()
        for _ in range(KILLS):
            while not server.stored.sent(since).total():
                time.sleep(0.02)
            time.sleep(chance.uniform(0.3, 1.2))
            server.kill()
            hit += server.stored.sent(since)
            since = datetime.now(UTC)
            server.start()
        (task,) = server.final([task_id])
        assert task["counts"]["success"] == METERS, server.call("GET", f"/tasks/{task_id}/errors")
        for meter in meters[:5]:
            result = server.call("GET", f"/tasks/{task_id}/devices/{meter}")["result"]
            outcomes = [each["outcome"] for each in result["commands"]]
            assert outcomes[:2] == ["DONE", "DONE"]
            assert outcomes[2] in ("DONE", "ALREADY_SO")
            assert [row[1] for row in result["commands"][3]["result"]["rows"]] == ["62"]
        assert server.terminate() == 0
        state = simulator.stop()
    assert hit.total() >= KILLS, "the kills hit nothing"
    events = list(read_log(simulator.log))
    assert overlapping_sessions(events) == []
    ran = executions(events)
    print(f"hit {dict(hit)}; executions {Counter(ran.values())}")
    assert set(ran.values()) == {1}
    assert len(ran) == 2 * METERS
    assert len(state) == METERS
