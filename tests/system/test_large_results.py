"""Ten thousand rows of a load profile from each meter, over the wire and out of the API, in bounded memory."""

import json
from pathlib import Path

import httpx
import pytest
from tests.system.processes import SECONDS, ServerProcess, SimulatorProcess
from tests.system.stored import Stored

pytestmark = pytest.mark.xdist_group("large results")

METERS = 8
ROWS = 10_000


def peak_memory(process_id: int) -> int:
    """Octets, since the process began."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024


@pytest.mark.parametrize("stored", ["sqlite", "postgres"], indirect=True)  # other kills are on the third
def test_ten_thousand_rows_come_back(tmp_path: Path, stored: Stored | None) -> None:
    with SimulatorProcess(tmp_path, METERS) as simulator, ServerProcess(tmp_path, stored, session_limit="4") as server:
        server.start()
        assert server.process is not None
        server.register(simulator)
        meters = [record["deviceId"] for record in simulator.records()]
        server.final([server.submit("READ_CLOCK", meters)])
        before = peak_memory(server.process.pid)
        parameters = {"entries": {"first": 1, "last": ROWS}}
        task_id = server.submit("READ_PROFILE", meters, commandParams=parameters)
        (task,) = server.final([task_id], 300)
        assert task["counts"]["success"] == METERS, server.call("GET", f"/tasks/{task_id}/errors")
        one = server.call("GET", f"/tasks/{task_id}/devices/{meters[3]}")
        assert len(one["result"]["rows"]) == ROWS
        octets, seen = 0, []
        with httpx.stream("GET", f"{server.url}/tasks/{task_id}/results", timeout=SECONDS) as answer:
            assert answer.headers["content-type"] == "application/x-ndjson"
            for line in answer.iter_lines():
                found = json.loads(line)
                octets += len(line)
                seen.append(found["deviceId"])
                assert len(found["result"]["rows"]) == ROWS
                assert found["deviceId"] != meters[3] or found["result"] == one["result"]
        assert seen == meters
        grown = peak_memory(server.process.pid) - before
        # Four sessions at a time, each with the rows of one meter as values, and one answer's text.
        assert grown < 100 * 1024 * 1024, f"{grown} octets for {octets} octets of results"
        assert "Traceback" not in server.errors.read_text()
