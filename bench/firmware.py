"""A firmware image of 512 KiB to 100 meters at once through the whole product, a DISCONNECT for one of them meanwhile.

HLS-GMAC with protection both, blocks of 512 octets. The DISCONNECT is submitted while every meter is under upload; what
counts is how long it takes until the API tells its success. The upload to that very meter goes on after it. The floor
is `bench.bare_firmware`, which does the initiate and the blocks with the same simulator process and keeps nothing. CPU
is user and system time of the whole process; memory is the highest resident size of the server's.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench.figure import Figure
from bench.product import cpu_seconds, memory_mb, register, server, simulator, task
from metercast.simulator.firmware import make_image

METERS = 100
BLOCK = 512
SIZE = 512 << 10
BLOCKS = SIZE // BLOCK
VERSION = "SIM-2.0"
DISCONNECT_SECONDS = 10.0
MEMORY_MB = 250.0
TIMEOUT_SECONDS = 1800.0


def submit(client: httpx.Client, command: str, devices: list[str], **fields: Any) -> str:
    body = {"commandId": "0123456789abcdef01234567", "commandType": command, "devices": devices, **fields}
    answer = client.post("/tasks", json=body)
    assert answer.is_success, answer.text
    return str(answer.json()["taskId"])


def until_over(client: httpx.Client, task_id: str, rest: float) -> float:
    """The seconds until the task is over, all of it a success."""
    began = time.perf_counter()
    while (found := task(client, task_id))["outcome"] is None:
        assert time.perf_counter() - began < TIMEOUT_SECONDS, found
        time.sleep(rest)
    assert found["outcome"] == "SUCCEEDED", found
    return time.perf_counter() - began


def until_under_way(client: httpx.Client, task_id: str) -> None:
    """Every meter is in its session, and blocks have arrived."""
    while task(client, task_id)["counts"]["sent"] < METERS:
        time.sleep(0.05)
    time.sleep(2.0)


def run_bare(records: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.bare_firmware", str(records), str(SIZE), str(BLOCK)]
    spent = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT_SECONDS).stdout)
    return spent["cpuSeconds"], spent["seconds"]


def figures(folder: Path) -> list[Figure]:
    with simulator(folder, 2 * METERS) as (simulator_pid, path), server(folder) as (pid, client):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        floor = folder / "floor.ndjson"
        floor.write_text("\n".join(json.dumps(record) for record in records[METERS:]))
        bare_cpu, bare_wall = run_bare(floor)
        register(client, records[:METERS])
        devices = [record["deviceId"] for record in records[:METERS]]
        put = client.put("/images/image", content=make_image("image", VERSION, SIZE))
        assert put.is_success, put.text
        cpu, simulated, wall = cpu_seconds(pid), cpu_seconds(simulator_pid), time.perf_counter()
        parameters = {"image": "image", "version": VERSION, "rebootSeconds": 1}
        upload = submit(client, "FIRMWARE_UPDATE", devices, commandParams=parameters)
        until_under_way(client, upload)
        asked_at = time.perf_counter() - wall
        disconnect = until_over(client, submit(client, "DISCONNECT", devices[:1]), 0.02)
        assert task(client, upload)["outcome"] is None, "the upload was over before the disconnect"
        until_over(client, upload, 0.25)
        elapsed = time.perf_counter() - wall
        cpu, simulated = cpu_seconds(pid) - cpu, cpu_seconds(simulator_pid) - simulated
        interrupted = client.get(f"/tasks/{upload}/devices/{devices[0]}").json()["result"]
        assert interrupted["blocksSent"] == BLOCKS, interrupted
        peak = memory_mb(pid, "VmHWM")
    name = f"product, {SIZE >> 10} KiB of firmware to {METERS} meters"
    blocks = METERS * BLOCKS
    return [
        Figure(
            f"{name}: a DISCONNECT for one of them, from submit to SUCCESS",
            disconnect,
            "s",
            DISCONNECT_SECONDS,
            detail=f"asked for {asked_at:.1f} s after the upload; that to this meter went on to its {BLOCKS} blocks",
        ),
        Figure(
            f"{name}: all of it",
            elapsed,
            "s",
            detail=f"{blocks / elapsed:,.0f} blocks/s; the bare client {bare_wall:.0f} s",
        ),
        Figure(
            f"{name}: the server's CPU per block, of the bare client's",
            cpu / bare_cpu,
            detail=f"{cpu / blocks * 1e6:.0f} us of {bare_cpu / blocks * 1e6:.0f} us; the simulator's"
            f" {simulated / blocks * 1e6:.0f} us",
        ),
        Figure(f"{name}: resident memory of the server at its highest", peak, "MB", MEMORY_MB),
    ]


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        return figures(Path(name))
