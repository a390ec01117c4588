"""The whole product against simulated meters: the server's CPU per meter, and its memory.

READ_CLOCK over HLS-GMAC with protection both. The floor is a bare asyncio client that does the same exchange with the
same simulator process at the same concurrency: connect, AARQ, AARE, HLS pass 3 and 4, GET clock, RLRQ, RLRE, close. It
checks tags, and neither parses what it does not need nor stores anything. CPU is user and system time of the whole
process, of the server from submit to COMPLETED.

The bare client is `python -m bench.product RECORDS FIRST_COUNTER`: it prints its CPU seconds and its wall seconds.
"""

import asyncio
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
from hmac import compare_digest
from pathlib import Path
from typing import Any, cast

import httpx
import uvloop
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.figure import Figure

METERS = 2000
CONCURRENCY = 500
ROUNDS = 5
FLEET = 100_000
MEMORY_MB = 250.0
TICKS = os.sysconf("SC_CLK_TCK")

CTOS = bytes(range(16))
INITIATE = bytes.fromhex("01000000065F1F0400005E1DFFFF")
AARQ_HEAD = bytes.fromhex("A109060760857405080103A60A0408")
AARQ_MIDDLE = bytes.fromhex("8A0207808B0760857405080205AC128010") + CTOS
PASS_3 = bytes.fromhex("C301C1000F0000280000FF0101091110")
GET_CLOCK = bytes.fromhex("C001C200080000010000FF0200")


# -- the floor -----------------------------------------------------------------------------------------------------


class BareMeter:
    """What the bare client knows of one meter."""

    __slots__ = ("address", "authentication_key", "client", "gcm", "port", "server")

    def __init__(self, record: dict[str, Any]) -> None:
        management = record["associations"]["management"]
        self.address: str = record["connection"]["host"]
        self.port: int = record["connection"]["port"]
        self.gcm = AESGCM(bytes.fromhex(management["encryptionKey"]))
        self.authentication_key = bytes.fromhex(management["authenticationKey"])
        self.client = bytes.fromhex(management["clientSystemTitle"])
        self.server = bytes.fromhex(record["identity"]["serverSystemTitle"])


class BareClient(asyncio.Protocol):
    """One exchange with one meter; `done` is called when its connection is closed."""

    __slots__ = ("_buffer", "_counter", "_done", "_meter", "_step", "_transport")

    def __init__(self, meter: BareMeter, counter: int, done: "asyncio.Future[None]") -> None:
        self._meter = meter
        self._counter = counter
        self._done = done
        self._step = 0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        user = self._seal(0x21, INITIATE)
        body = AARQ_HEAD + self._meter.client + AARQ_MIDDLE + bytes((0xBE, len(user) + 2, 4, len(user))) + user
        self._send(bytes((0x60, len(body))) + body)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < 8 or len(self._buffer) < 8 + int.from_bytes(self._buffer[6:8], "big"):
            return
        apdu, self._buffer = self._buffer[8:], b""
        self._step += 1
        if self._step == 1:
            self._prove(apdu)
        elif self._step == 2:
            answer = self._unseal(apdu)[-17:]
            proof = self._gmac(self._meter.server, answer[1:5], CTOS)
            assert compare_digest(proof, answer[5:])
            self._send(self._seal(0xC8, GET_CLOCK))
        elif self._step == 3:
            assert len(self._unseal(apdu)[-12:]) == 12
            user = self._seal(0x21, INITIATE)
            self._send(bytes((0x62, len(user) + 7, 0x80, 1, 0, 0xBE, len(user) + 2, 4, len(user))) + user)
        else:
            assert apdu[0] == 0x63
            assert self._transport is not None
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._step == 4:
            self._done.set_result(None)
        else:
            self._done.set_exception(exc or ConnectionError(f"closed after step {self._step}"))

    def _prove(self, aare: bytes) -> None:
        fields = {}
        at = 2
        while at < len(aare):
            end = at + 2 + aare[at + 1]
            fields[aare[at]] = aare[at + 2 : end]
            at = end
        assert fields[0xA2][-1] == 0
        self._unseal(fields[0xBE][2:])
        counter = self._counter.to_bytes(4, "big")
        self._counter += 1
        proof = counter + self._gmac(self._meter.client, counter, fields[0xAA][2:])
        self._send(self._seal(0xCB, PASS_3 + proof))

    def _send(self, apdu: bytes) -> None:
        assert self._transport is not None
        self._transport.write(b"\x00\x01\x00\x01\x00\x01" + len(apdu).to_bytes(2, "big") + apdu)

    def _seal(self, tag: int, apdu: bytes) -> bytes:
        meter, counter = self._meter, self._counter.to_bytes(4, "big")
        self._counter += 1
        sealed = meter.gcm.encrypt(meter.client + counter, apdu, b"\x30" + meter.authentication_key)
        return bytes((tag, len(sealed) + 1)) + b"\x30" + counter + sealed[:-4]

    def _unseal(self, apdu: bytes) -> bytes:
        """AESGCM takes no tag of 12 octets: the key stream decrypts, and the tag is made again."""
        gcm, nonce = self._meter.gcm, self._meter.server + apdu[3:7]
        plain = gcm.encrypt(nonce, apdu[7:-12], None)[:-16]
        tag = gcm.encrypt(nonce, plain, b"\x30" + self._meter.authentication_key)[-16:-4]
        assert compare_digest(tag, apdu[-12:])
        return plain

    def _gmac(self, title: bytes, counter: bytes, challenge: bytes) -> bytes:
        meter = self._meter
        return meter.gcm.encrypt(title + counter, b"", b"\x10" + meter.authentication_key + challenge)[:12]


async def bare(meters: list[BareMeter], first_counter: int) -> None:
    loop = asyncio.get_running_loop()
    queue = iter(meters)

    async def exchange(meter: BareMeter) -> None:
        done = loop.create_future()
        await loop.create_connection(lambda: BareClient(meter, first_counter, done), meter.address, meter.port)
        await done

    async def work() -> None:
        for meter in queue:
            await exchange(meter)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


def bare_main(records: Path, first_counter: int) -> None:
    meters = [BareMeter(json.loads(line)) for line in records.read_text().splitlines()]
    cpu, wall = time.process_time(), time.perf_counter()
    uvloop.run(bare(meters, first_counter))
    print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))


# -- processes -----------------------------------------------------------------------------------------------------


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


# -- figures -------------------------------------------------------------------------------------------------------


def run_bare(records: Path, first_counter: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.product", str(records), str(first_counter)]
    cpu, wall = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return cpu, wall


def run_server(pid: int, client: httpx.Client, devices: list[str]) -> tuple[float, float]:
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    task_id = submit(client, devices)
    while (found := task(client, task_id))["outcome"] is None:
        time.sleep(0.1)
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
            server_cpu / bare_cpu,
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


if __name__ == "__main__":
    bare_main(Path(sys.argv[1]), int(sys.argv[2]))
