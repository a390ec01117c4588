"""Firmware uploads through the whole server: interrupted by a disconnect, a kill and a cancellation."""

import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.system.processes import ServerProcess, SimulatorProcess
from tests.system.stored import Stored

from metercast.simulator.firmware import make_image

pytestmark = pytest.mark.xdist_group("firmware upload")

METERS = 4
BLOCKS = 200
VERSION = "SIM-7.1"
IMAGE = make_image("upload", VERSION, BLOCKS * 512)
SLOW: list[dict[str, Any]] = [{"rate": 1.0, "faults": [{"kind": "delay-answers", "minimum": 0.02, "maximum": 0.03}]}]
QUICK = {"maxAttempts": 20, "initialDelaySeconds": 0.2, "maxDelaySeconds": 1.0}


def begin(server: ServerProcess, simulator: SimulatorProcess) -> tuple[str, list[str]]:
    """The upload's task, under way on every meter, and the meters."""
    server.start()
    server.register(simulator)
    octets = {"Content-Type": "application/octet-stream"}
    server.call("PUT", "/images/upload", content=IMAGE, headers=octets)
    meters = [record["deviceId"] for record in simulator.records()]
    parameters = {"image": "upload", "version": VERSION, "rebootSeconds": 0.5}
    task_id = server.submit("FIRMWARE_UPDATE", meters, commandParams=parameters, retry=QUICK)
    while server.task(task_id)["counts"]["sent"] < METERS:
        time.sleep(0.05)
    time.sleep(1.0)
    return task_id, meters


def check_uploaded_once(states: dict[str, dict[str, Any]], *, sent_twice: int = 0) -> None:
    for state in states.values():
        assert (state["firmware"], state["imagesActivated"]) == (VERSION, 1)
        assert state["imagesInitiated"] == 1, "an upload began anew"
        assert BLOCKS <= state["imageBlocks"] <= BLOCKS + sent_twice
        assert state["maxConcurrentSessions"] == 1


def test_a_disconnect_runs_on_a_meter_under_upload_and_the_upload_goes_on(tmp_path: Path) -> None:
    options = ("--security", "hls-gmac")
    with SimulatorProcess(tmp_path, METERS, *options, faults=SLOW) as simulator, ServerProcess(tmp_path) as server:
        task_id, meters = begin(server, simulator)
        began = time.monotonic()
        relay = server.submit("DISCONNECT", meters[:1])
        (disconnected,) = server.final([relay])
        assert disconnected["counts"]["success"] == 1
        took = time.monotonic() - began
        assert server.task(task_id)["outcome"] is None, f"the upload ended before the disconnect, after {took:.1f} s"
        (task,) = server.final([task_id])
        assert task["counts"]["success"] == METERS
        detail = server.call("GET", f"/tasks/{task_id}/devices/{meters[0]}")
        assert (detail["result"]["blocksSent"], detail["result"]["version"]) == (BLOCKS, VERSION)
        assert detail["progress"] is None
        states = simulator.stop()
        check_uploaded_once(states)
        assert [state["relayConnected"] for state in states.values()] == [False, *[True] * (METERS - 1)]
        assert "Traceback" not in server.errors.read_text()


@pytest.mark.parametrize("stored", ["sqlite", "postgres"], indirect=True)  # other kills are on the third
def test_an_upload_goes_on_after_the_server_was_killed(tmp_path: Path, stored: Stored | None) -> None:
    with (
        SimulatorProcess(tmp_path, METERS, "--security", "hls-gmac", faults=SLOW) as simulator,
        ServerProcess(tmp_path, stored, lease_seconds="5") as server,
    ):
        task_id, meters = begin(server, simulator)
        for _ in range(2):
            server.kill()
            server.start()
            while server.task(task_id)["counts"]["sent"] < METERS:
                time.sleep(0.05)
            time.sleep(0.5)
        (task,) = server.final([task_id])
        assert task["counts"]["success"] == METERS
        # A block whose answer was not seen is sent again, after each of the kills.
        check_uploaded_once(simulator.stop(), sent_twice=4)
        progress = server.call("GET", f"/tasks/{task_id}/devices/{meters[0]}")
        assert progress["result"]["image"]["size"] == len(IMAGE)


def test_a_cancelled_upload_stops_and_a_later_task_takes_it_up(tmp_path: Path) -> None:
    with (
        SimulatorProcess(tmp_path, METERS, "--security", "hls-gmac", faults=SLOW) as simulator,
        ServerProcess(tmp_path) as server,
    ):
        task_id, meters = begin(server, simulator)
        assert_refused(server)
        server.call("POST", f"/tasks/{task_id}/cancel")
        (task,) = server.final([task_id])
        assert task["counts"]["cancelled"] == METERS
        parameters = {"image": "upload", "version": VERSION, "rebootSeconds": 0.5}
        again = server.submit("FIRMWARE_UPDATE", meters, commandParams=parameters, retry=QUICK)
        while server.call("GET", f"/tasks/{again}/devices/{meters[0]}")["progress"] is None:
            time.sleep(0.05)
        (task,) = server.final([again])
        assert task["counts"]["success"] == METERS
        check_uploaded_once(simulator.stop())
        deleted = httpx.delete(f"{server.url}/images/upload")
        assert deleted.status_code == 204


def test_sigterm_ends_uploads_at_their_next_block(tmp_path: Path) -> None:
    with (
        SimulatorProcess(tmp_path, METERS, "--security", "hls-gmac", faults=SLOW) as simulator,
        ServerProcess(tmp_path) as server,
    ):
        task_id, _ = begin(server, simulator)
        assert server.terminate() == 0
        assert server.process is not None
        assert server.process.returncode != -signal.SIGKILL
        statuses = {status for _, status, _ in server.stored.devices(task_id)}
        assert statuses == {"PENDING"}
        server.start()
        (task,) = server.final([task_id])
        assert task["counts"]["success"] == METERS
        check_uploaded_once(simulator.stop())


def assert_refused(server: ServerProcess) -> None:
    """The image is needed, and an image that is not there is not promised."""
    with pytest.raises(AssertionError, match="409"):
        server.call("DELETE", "/images/upload")
    with pytest.raises(AssertionError, match=r"commandParams\.image"):
        server.submit("FIRMWARE_UPDATE", ["meter-0001"], commandParams={"image": "none", "version": "1"})
