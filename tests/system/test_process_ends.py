"""How the server's process ends, and when it does not start; with meters in their sessions."""

import resource
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.system.processes import SECONDS, ServerProcess, SimulatorProcess

pytestmark = pytest.mark.xdist_group("process ends")

SLOW: list[dict[str, Any]] = [{"rate": 1.0, "faults": [{"kind": "delay-answers", "minimum": 0.4, "maximum": 0.5}]}]
DEAF: list[dict[str, Any]] = [{"rate": 1.0, "faults": [{"kind": "never-answer"}]}]


def until_sent(server: ServerProcess, task_id: str, devices: int) -> None:
    while server.task(task_id)["counts"]["sent"] < devices:
        time.sleep(0.02)


def statuses(server: ServerProcess, task_id: str) -> dict[str, int]:
    return Counter(status for _, status, _ in server.stored.devices(task_id))


def test_sigterm_lets_sessions_end_and_begins_no_more(tmp_path: Path) -> None:
    with (
        SimulatorProcess(tmp_path, 60, faults=SLOW) as simulator,
        ServerProcess(tmp_path, session_limit="20") as server,
    ):
        server.start()
        server.register(simulator)
        task_id = server.submit("READ_CLOCK", [record["deviceId"] for record in simulator.records()])
        until_sent(server, task_id, 20)
        before = server.task(task_id)["counts"]
        assert server.terminate() == 0
        after = statuses(server, task_id)
        assert after.keys() <= {"SUCCESS", "PENDING"}, "something was left SENT"
        assert after["SUCCESS"] > before["success"], "the sessions in flight did not end by themselves"
        assert after["PENDING"] >= 60 - before["success"] - 20
        server.start()
        (task,) = server.final([task_id])
        assert task["counts"]["success"] == 60
        assert "Traceback" not in server.errors.read_text()


def test_sigterm_ends_within_the_grace_time_where_meters_never_answer(tmp_path: Path) -> None:
    with (
        SimulatorProcess(tmp_path, 20, faults=DEAF) as simulator,
        ServerProcess(tmp_path, drain_grace_seconds="2") as server,
    ):
        server.start()
        server.register(simulator)
        meters = [record["deviceId"] for record in simulator.records()]
        task_id = server.submit("TEST_MDI_RESET", meters)
        until_sent(server, task_id, 20)
        began = time.monotonic()
        assert server.terminate() == 0
        # A minute would mean that it waited for the meters; their silence is given two.
        assert time.monotonic() - began < 30
        server.start()
        (task,) = server.final([task_id])
        assert task["counts"]["failed"] == 20
        assert {error for _, _, error in server.stored.devices(task_id)} == {"OutcomeUnknown"}


def test_a_second_process_on_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        said_before = server.errors.read_text()
        second = server.launch()
        output, _ = second.communicate(timeout=SECONDS)
        said = server.errors.read_text().removeprefix(said_before)
        assert second.returncode == 1
        assert output == ""
        lines = [line for line in said.splitlines() if line.startswith("metercast: ")]
        assert len(lines) == 1
        assert "is in use by another process" in lines[0]
        assert "Traceback" not in said
        assert server.call("GET", "/healthz")
        server.kill()
        server.start()  # a killed process leaves no lock behind


def test_a_locked_database_is_an_error_and_no_loss(tmp_path: Path) -> None:
    with (
        SimulatorProcess(tmp_path, 30, faults=SLOW) as simulator,
        ServerProcess(tmp_path, lease_seconds="60") as server,
    ):
        server.start()
        server.register(simulator)
        meters = [record["deviceId"] for record in simulator.records()]
        task_id = server.submit("TEST_MDI_RESET", meters)
        until_sent(server, task_id, 30)
        locker = sqlite3.connect(server.file.path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        try:
            body = {"commandId": "c", "commandType": "READ_CLOCK", "devices": meters}
            refused = httpx.post(server.url + "/tasks", json=body, timeout=SECONDS)
        finally:
            locker.execute("ROLLBACK")
            locker.close()
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert "locked" in refused.json()["detail"]
        (task,) = server.final([task_id])
        assert task["counts"]["success"] == 30
        assert server.stored.tasks() == 1
        server.final([server.submit("READ_CLOCK", meters)])


def test_a_full_disk_is_an_error_and_no_loss(tmp_path: Path) -> None:
    """The limit on the size of a file stands for the disk: the kernel refuses to let the database grow."""
    with SimulatorProcess(tmp_path, 30) as simulator, ServerProcess(tmp_path) as server:
        server.start()
        server.register(simulator)
        meters = [record["deviceId"] for record in simulator.records()]
        assert server.process is not None
        pid = server.process.pid
        first = server.final([server.submit("READ_CLOCK", meters)])
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        size = max(each.stat().st_size for each in server.data_dir.glob("metercast.db*"))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 20_000, hard))
        body = {"commandId": "c", "commandType": "READ_CLOCK", "allowUnknown": True}
        refusals = []
        for number in range(30):
            devices = [f"device-{number}-{each}" for each in range(2000)]
            refusals.append(httpx.post(server.url + "/tasks", json=body | {"devices": devices}, timeout=SECONDS))
            if refusals[-1].status_code != 201:
                break
        assert refusals[-1].status_code == 503
        assert refusals[-1].headers["content-type"] == "application/problem+json"
        assert server.call("GET", "/healthz")
        accepted = [answer.json()["taskId"] for answer in refusals[:-1]]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        tasks = server.final([*accepted, server.submit("READ_CLOCK", meters)])
        assert tasks[-1]["counts"]["success"] == 30
        assert first[0] == server.task(first[0]["taskId"])
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        assert server.stored.tasks() == 2 + len(accepted)
        assert server.file.rows("PRAGMA integrity_check") == [("ok",)]
