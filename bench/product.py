"""The whole product against a bare client: READ_CLOCK over HLS-GMAC on 2,000 simulated meters.

The server, the bare client and each one's simulator are processes of their own. Both take the same exchange: connect,
AARQ, both HLS passes, GET clock, RLRQ, close, at most 500 sessions at a time. The server's CPU counts from the submit
until the task is final, with the HTTP calls that watch it.
"""

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.figure import Figure
from metercast.client import NDJSON, Api, NotReached

METERS, SESSIONS, ROUNDS = 2000, 500, 5
MEMORY_DEVICES = 100_000
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def start_simulator(folder: Path, name: str) -> tuple[subprocess.Popen[bytes], Path]:
    """2,000 meters with HLS-GMAC and protection both, and the file that describes them."""
    described = folder / f"{name}.ndjson"
    options = ("--meters", str(METERS), "--security", "hls-gmac", "--base-port", "0", "--devices-out", str(described))
    process = start(["-m", "metercast.simulator", *options])
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["ready"]
    return process, described


@contextlib.asynccontextmanager
async def server(folder: Path, name: str) -> AsyncIterator[tuple[Api, int]]:
    """A real server process on a free port; its API and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--data-dir", str(folder / name), "--port", str(port))
    process = start(["-m", "metercast", "serve", *options])
    try:
        async with Api(f"http://127.0.0.1:{port}") as api:
            for _ in range(200):
                with contextlib.suppress(NotReached):
                    await api.ready()
                    break
                await asyncio.sleep(0.05)
            yield api, process.pid
    finally:
        process.terminate()
        process.wait()


def without_device_name(line: str) -> bytes:
    """The record with the system title as its identity: that one is checked without a further exchange."""
    record = json.loads(line)
    record["identity"].pop("logicalDeviceName", None)
    return json.dumps(record).encode()


async def read_clocks(api: Api, pid: int, device_ids: list[str], number: int) -> tuple[float, float]:
    """One task on all meters: CPU seconds and wall seconds of the server."""
    spent, loop = cpu_seconds(pid), asyncio.get_running_loop()
    began = loop.time()
    task: dict[str, Any] = await api.submit(
        {"commandId": f"bench-{number}", "commandType": "READ_CLOCK", "devices": device_ids}
    )
    while task["outcome"] is None:
        await asyncio.sleep(0.2)
        task = await api.task(task["taskId"])
    assert task["counts"]["success"] == len(device_ids), task
    return cpu_seconds(pid) - spent, loop.time() - began


def read_clocks_bare(described: Path, number: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.bare_client", str(described), str(1000 * (number + 1)), str(SESSIONS)]
    answer = subprocess.run(command, check=True, capture_output=True, timeout=120)
    spent: dict[str, float] = json.loads(answer.stdout)
    return spent


async def compare(folder: Path) -> list[Figure]:
    theirs, described = start_simulator(folder, "bare")
    ours, ours_described = start_simulator(folder, "product")
    records = [without_device_name(line) for line in ours_described.read_text().splitlines()]
    device_ids = [json.loads(each)["deviceId"] for each in records]
    cpu, wall, bare = [], [], []
    try:
        async with server(folder, "data") as (api, pid):
            await api.import_devices(b"\n".join(records), NDJSON)
            await read_clocks(api, pid, device_ids, 0)
            read_clocks_bare(described, 0)
            meters_before = cpu_seconds(ours.pid)
            for number in range(1, ROUNDS + 1):
                spent, seconds = await read_clocks(api, pid, device_ids, number)
                cpu.append(spent / METERS)
                wall.append(seconds)
                bare.append(read_clocks_bare(described, number)["cpuSeconds"] / METERS)
            simulator = (cpu_seconds(ours.pid) - meters_before) / ROUNDS / METERS
    finally:
        for process in (theirs, ours):
            process.terminate()
            process.wait()
    mine, floor = statistics.median(cpu), statistics.median(bare)
    detail = (
        f"{mine * 1e6:.0f} us of {floor * 1e6:.0f} us a meter; {METERS / statistics.median(wall):,.0f} meters/s; "
        f"the simulator takes {simulator * 1e6:.0f} us a meter"
    )
    return [Figure("product: the server's CPU per meter, of a bare client's", mine / floor, bar=2.5, detail=detail)]


async def memory(folder: Path) -> list[Figure]:
    """A task that stays busy: nobody listens on the port of its meters, and each is tried again and again."""
    async with server(folder, "memory") as (api, pid):
        device_ids = [f"meter-{number:06d}" for number in range(MEMORY_DEVICES)]
        for start in range(0, MEMORY_DEVICES, 10_000):
            lines = [
                json.dumps({"deviceId": each, "connection": {"host": "127.0.0.1", "port": 1, "channel": each}})
                for each in device_ids[start : start + 10_000]
            ]
            await api.import_devices("\n".join(lines).encode(), NDJSON)
        task = await api.submit(
            {
                "commandId": "memory",
                "commandType": "READ_CLOCK",
                "devices": device_ids,
                "retry": {"initialDelaySeconds": 2, "maxDelaySeconds": 4},
            }
        )
        highest = 0.0
        for _ in range(100):
            highest = max(highest, resident_mib(pid))
            await asyncio.sleep(0.1)
        now = await api.task(task["taskId"])
        assert now["status"] == "IN_PROGRESS", now
        tried = now["counts"]
    return [
        Figure("product: resident memory with a 100,000-device task running", highest, "MB", 250.0, detail=str(tried))
    ]


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*asyncio.run(compare(folder)), *asyncio.run(memory(folder))]
