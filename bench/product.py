"""The whole product against simulated meters: the server's CPU per meter, and its memory.

READ_CLOCK over HLS-GMAC with protection both. The floor is `bench.bare_client`, which does the same exchange with the
same simulator process at the same concurrency: connect, AARQ, AARE, HLS pass 3 and 4, GET clock, RLRQ, RLRE, close. CPU
is user and system time of the whole process, of the server from submit to COMPLETED, with the HTTP calls that watch it.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.figure import Figure

METERS = 2000
CONCURRENCY = 500
ROUNDS = 9
FLEET = 100_000
MEMORY_MB = 250.0
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of the whole process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int, name: str) -> float:
    """VmRSS or VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024


@contextmanager
def simulator(folder: Path, meters: int) -> Iterator[tuple[int, Path]]:
    """Its process and the records of its meters."""
    records = folder / "devices.ndjson"
    process = subprocess.Popen(
        [sys.executable, "-m", "metercast.simulator", "--meters", str(meters), "--base-port", "0",
         "--security", "hls-gmac", "--protection", "both", "--devices-out", str(records), "--until-stdin-closes"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"]
        yield process.pid, records
    finally:
        process.kill()
        process.communicate()


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, httpx.Client]]:
    """Its process and a client of its API."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METERCAST_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "metercast", "serve", "--data-dir", str(folder / "data"), "--port", "0",
         "--session-limit", str(CONCURRENCY), "--log-level", "error"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3]
        with httpx.Client(base_url=url, timeout=300) as client:
            yield process.pid, client
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def register(client: httpx.Client, records: list[dict[str, Any]]) -> None:
    body = "\n".join(json.dumps(record) for record in records)
    answer = client.post("/devices/import", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.is_success, answer.text


def submit(client: httpx.Client, devices: list[str]) -> str:
    body = {"commandId": "0123456789abcdef01234567", "commandType": "READ_CLOCK", "devices": devices}
    answer = client.post("/tasks", json=body)
    assert answer.is_success, answer.text
    return str(answer.json()["taskId"])


def task(client: httpx.Client, task_id: str) -> dict[str, Any]:
    document: dict[str, Any] = client.get(f"/tasks/{task_id}?devices=false").json()
    return document


def run_bare(records: Path, first_counter: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.bare_client", str(records), str(first_counter), str(CONCURRENCY)]
    spent = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    return spent["cpuSeconds"], spent["seconds"]


def run_server(pid: int, client: httpx.Client, devices: list[str]) -> tuple[float, float]:
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    task_id = submit(client, devices)
    while (found := task(client, task_id))["outcome"] is None:
        time.sleep(0.25)
    elapsed = time.perf_counter() - wall
    assert found["counts"]["success"] == len(devices), found
    return cpu_seconds(pid) - cpu, elapsed


def cpu_figures(folder: Path) -> list[Figure]:
    """Half of the simulator's meters are the server's, the other half the bare client's, which has its own counters."""
    with simulator(folder, 2 * METERS) as (simulator_pid, path), server(folder) as (pid, client):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for record in records:
            del record["identity"]["logicalDeviceName"]  # proved by HLS already: the bare client reads no name either
        ours, floor = records[:METERS], folder / "floor.ndjson"
        floor.write_text("\n".join(json.dumps(record) for record in records[METERS:]))
        register(client, ours)
        devices = [record["deviceId"] for record in ours]
        run_bare(floor, 1)
        run_server(pid, client, devices)
        served: list[tuple[float, float]] = []
        bared: list[tuple[float, float]] = []
        simulated = []
        for number in range(1, ROUNDS + 1):
            bared.append(run_bare(floor, 1000 * number))
            before = cpu_seconds(simulator_pid)
            served.append(run_server(pid, client, devices))
            simulated.append(cpu_seconds(simulator_pid) - before)
    server_cpu, server_wall = (statistics.median(each) for each in zip(*served, strict=True))
    bare_cpu, bare_wall = (statistics.median(each) for each in zip(*bared, strict=True))
    per_meter = 1e6 / METERS
    return [
        Figure(
            "product, READ_CLOCK over HLS-GMAC: the server's CPU per meter, of the bare client's",
            statistics.median(mine[0] / theirs[0] for mine, theirs in zip(served, bared, strict=True)),
            bar=2.5,
            detail=f"{server_cpu * per_meter:.0f} us of {bare_cpu * per_meter:.0f} us per meter",
        ),
        Figure(
            "product, READ_CLOCK over HLS-GMAC: meters per second",
            METERS / server_wall,
            "/s",
            detail=f"the bare client {METERS / bare_wall:,.0f}/s; the simulator's CPU"
            f" {statistics.median(simulated) * per_meter:.0f} us per meter",
        ),
    ]


def memory_figure(folder: Path) -> Figure:
    """A task of 100,000 meters that refuse the connection: each is tried, and waits for its next attempt."""
    connection = {"host": "127.0.0.1", "port": 1}
    devices = [f"meter-{number:06d}" for number in range(FLEET)]
    records = [
        {"deviceId": each, "connection": connection | {"channel": each}, "identity": {"logicalDeviceName": each}}
        for each in devices
    ]
    with server(folder) as (pid, client):
        idle = memory_mb(pid, "VmRSS")
        register(client, records)
        registered = memory_mb(pid, "VmHWM")
        task_id = submit(client, devices)
        highest = 0.0
        began = time.monotonic()
        while time.monotonic() - began < 30 and task(client, task_id)["outcome"] is None:
            highest = max(highest, memory_mb(pid, "VmRSS"))
            time.sleep(0.2)
        peak = memory_mb(pid, "VmHWM")
        tried = sum(each["devices"] for each in client.get(f"/tasks/{task_id}/errors").json()["errors"])
    return Figure(
        "product: resident memory of the server at its highest, a task of 100,000 devices running",
        peak,
        "MB",
        bar=MEMORY_MB,
        detail=f"idle {idle:.0f} MB; the import included, {registered:.0f} MB; while it ran {highest:.0f} MB,"
        f" {tried:,} devices tried",
    )


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        figures = cpu_figures(Path(name))
    with tempfile.TemporaryDirectory() as name:
        return [*figures, memory_figure(Path(name))]
