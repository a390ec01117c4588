"""A task of 1,000,000 devices through the real server process: its memory, and how soon a reader has the first byte.

The meters are registered beforehand. The task comes as a stream of NDJSON over HTTP, runs to COMPLETED with the no-op
driver, and is then read as one whole document, three times. Memory is the highest resident size of the server's process
up to then (VmHWM); with PostgreSQL, the database server's own memory is not part of it.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import httpx
import msgspec
import uvloop

from bench.databases import KINDS, Databases, open_migrated
from bench.figure import Figure
from bench.fleet import MILLION, Names
from bench.noop import DOCUMENT
from bench.product import memory_mb, task

MEMORY_MB = 300.0
FIRST_BYTE_MS = 200.0
READS = 3
LINES_AT_ONCE = 1000
TIMEOUT_SECONDS = 600.0


@contextmanager
def server(url: str) -> Iterator[tuple[int, httpx.Client]]:
    """Its process and a client of its API."""
    with tempfile.TemporaryDirectory(prefix="metercast-bench-") as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("METERCAST_")} | {
            "METERCAST_DATABASE_URL": url,
            "METERCAST_DATA_DIR": f"{folder}/data",
            "METERCAST_PORT": "0",
            "METERCAST_LOG_LEVEL": "error",
        }
        command = [sys.executable, "-m", "bench.noop_server"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[3]
            with httpx.Client(base_url=address, timeout=TIMEOUT_SECONDS) as client:
                yield process.pid, client
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()


def lines(count: int) -> Iterator[bytes]:
    """The task as NDJSON."""
    yield msgspec.json.encode({"commandId": "0123456789abcdef01234567", "commandType": "READ_CLOCK"}) + b"\n"
    names = Names(count)
    for start in range(0, count, LINES_AT_ONCE):
        yield "".join(f'{{"deviceId":"{each}"}}\n' for each in names[start : start + LINES_AT_ONCE]).encode()


def submit(client: httpx.Client, count: int) -> str:
    answer = client.post("/tasks", content=lines(count), headers={"Content-Type": "application/x-ndjson"})
    assert answer.is_success, answer.text
    return str(answer.json()["taskId"])


def completed(client: httpx.Client, task_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (found := task(client, task_id))["outcome"] is None:
        assert time.monotonic() < deadline, found
        time.sleep(0.25)
    return found


def read(client: httpx.Client, task_id: str) -> tuple[float, float, int]:
    """Seconds to the first byte of the document, and to its end; its length."""
    began = time.perf_counter()
    first = 0.0
    length = 0
    with client.stream("GET", f"/tasks/{task_id}") as answer:
        assert answer.is_success
        for chunk in answer.iter_raw():
            first = first or time.perf_counter() - began
            length += len(chunk)
    return first, time.perf_counter() - began, length


async def registered(databases: Databases) -> str:
    """The URL of a database with the fleet."""
    url, store = await open_migrated(databases, "memory")
    await store.close()
    raw = await databases.open_raw(url)
    await raw.register(Names(MILLION), DOCUMENT, None)
    await raw.close()
    return url


def figures(databases: Databases) -> list[Figure]:
    url = uvloop.run(registered(databases))
    with server(url) as (pid, client):
        idle = memory_mb(pid, "VmHWM")
        began = time.perf_counter()
        task_id = submit(client, MILLION)
        created, created_mb = time.perf_counter() - began, memory_mb(pid, "VmHWM")
        found = completed(client, task_id)
        ran, ran_mb = time.perf_counter() - began, memory_mb(pid, "VmHWM")
        assert found["counts"]["success"] == MILLION, found
        reads = [read(client, task_id) for _ in range(READS)]
        peak = memory_mb(pid, "VmHWM")
    name = f"product, {databases.name}, a task of {MILLION:,} devices"
    _, seconds, length = reads[0]
    return [
        Figure(
            f"{name}: resident memory of the server at its highest",
            peak,
            "MB",
            MEMORY_MB,
            detail=f"idle {idle:.0f} MB; created in {created:.1f} s {created_mb:.0f} MB; completed after {ran:.0f} s"
            f" {ran_mb:.0f} MB; read {peak:.0f} MB",
        ),
        Figure(
            f"{name}: the reader's first byte",
            median(first for first, _, _ in reads) * 1000,
            "ms",
            FIRST_BYTE_MS,
            detail=f"{length / 1e6:.0f} MB in {seconds:.1f} s; {READS} reads",
        ),
    ]


def run() -> list[Figure]:
    found: list[Figure] = []
    for kind in KINDS:
        with kind() as databases:
            found += figures(databases)
    return found
