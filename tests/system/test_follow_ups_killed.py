"""A deferred change is followed up once, whenever the server is killed."""

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.system.processes import ServerProcess, SimulatorProcess
from tests.system.stored import Stored

pytestmark = pytest.mark.xdist_group("follow ups killed")

METERS = 30
AHEAD = timedelta(seconds=20)


def calendar(name: str, **activation: Any) -> dict[str, Any]:
    return set_tou() | {"calendarName": name, "activation": activation}


@pytest.mark.parametrize("stored", ["sqlite"], indirect=True)  # the engine's tests cut it on every store
def test_what_the_deferred_change_did(tmp_path: Path, stored: Stored | None) -> None:
    chance = random.Random(7)
    settings = {"log_level": "warning", "test_margin": "1"}
    with SimulatorProcess(tmp_path, METERS) as simulator, ServerProcess(tmp_path, stored, **settings) as server:
        server.start()
        server.register(simulator)
        meters = [record["deviceId"] for record in simulator.records()]
        synced = server.submit("SYNC_CLOCK", meters, commandParams={"thresholdSeconds": 1, "toleranceSeconds": 1})
        assert server.final([synced])[0]["counts"]["success"] == METERS
        at = (datetime.now(UTC) + AHEAD).replace(microsecond=0)
        later = calendar("LATER", mode="at", at=at.isoformat())
        task_id = server.submit("SET_TOU", [*meters, "no-such-meter"], commandParams=later, allowUnknown=True)
        (task,) = server.final([task_id])
        assert task["counts"]["success"] == METERS
        assert task["followUpTaskId"] is None
        assert datetime.fromisoformat(task["followUpAt"]) == at + timedelta(seconds=1)
        # Someone changes two meters by hand in the meantime.
        other = server.submit("SET_TOU", meters[:2], commandParams=calendar("OTHER", mode="immediate"))
        assert server.final([other])[0]["counts"]["success"] == 2
        while datetime.now(UTC) < at:
            time.sleep(0.05)
        for _ in range(4):  # about when it is due, and while it is made and run
            time.sleep(chance.uniform(0.0, 0.9))
            server.kill()
            server.start()
        while (parent := server.task(task_id))["followUpTaskId"] is None:
            time.sleep(0.1)
        (child,) = server.final([parent["followUpTaskId"]])
        assert (child["commandType"], child["parentTaskId"]) == ("VERIFY_TOU", task_id)
        assert (child["counts"]["total"], child["counts"]["success"]) == (METERS, METERS - 2)
        found = server.call("GET", f"/tasks?commandId={task['commandId']}")["tasks"]
        assert Counter(each["commandType"] for each in found) == {"SYNC_CLOCK": 1, "SET_TOU": 2, "VERIFY_TOU": 1}
        one = server.call("GET", f"/tasks/{child['taskId']}/devices/{meters[5]}")
        assert one["result"]["active"]["calendarName"] == "LATER"
        wrong = server.call("GET", f"/tasks/{child['taskId']}/devices/{meters[0]}")
        assert (wrong["error"], wrong["result"]["active"]["calendarName"]) == ("VerificationFailed", "OTHER")
