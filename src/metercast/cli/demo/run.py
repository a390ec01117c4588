"""The demo, step by step."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec

from metercast.cli.demo.check import check
from metercast.cli.demo.plan import CALENDAR, Json, Plan
from metercast.cli.demo.processes import Child
from metercast.cli.demo.report import Report
from metercast.cli.exits import CommandFailed
from metercast.cli.progress import display_for
from metercast.cli.watch import Quiet, follow
from metercast.client import NDJSON, Api

READERS = 16
SERVER_ADDRESS = "Metercast listens on "


class Ended(NamedTuple):
    """The task as it ended, and what was not as planned."""

    task: Json
    problems: list[str]


async def run_demo(plan: Plan, out: TextIO, database: str | None, *, keep: bool) -> Ended:
    """Runs it and reports to `out`. Whatever happens, its processes end and, unless `keep`, its directory goes.

    `database` is the URL of an empty database; without one the server has a file in the directory.
    """
    report = Report(plan, out)
    with _directory(keep=keep, report=report) as directory:
        async with _simulator(plan, directory) as simulator, _server(plan, directory, database) as (server, url):
            async with Api(url) as api:
                report.started(url, database)
                ended = await _use(plan, api, directory, simulator, report, out)
            await server.stop()
    return ended


async def _use(plan: Plan, api: Api, directory: Path, simulator: Child, report: Report, out: TextIO) -> Ended:
    """The main job, through the API alone."""
    imported = await api.import_devices((directory / "meters.ndjson").read_bytes(), NDJSON)
    report.registered(imported["created"])
    task = await _set_tou(plan, api, report, out)
    devices = await _devices(plan, api, task["taskId"])
    sample = await _read_clock(plan, api)
    clock = await api.task_device(sample["taskId"], plan.sample[1])
    # At its end the simulator writes down what its meters really hold.
    await simulator.stop()
    meters: Json = msgspec.json.decode((directory / "state.json").read_bytes())["meters"]
    problems = check(plan, task, devices, meters)
    report.ended(task, devices, problems)
    report.document(sample, clock)
    report.next_steps()
    return Ended(task, problems)


async def _set_tou(plan: Plan, api: Api, report: Report, out: TextIO) -> Json:
    asked = await api.submit(
        {
            "commandId": "demo-set-tou",
            "commandType": "SET_TOU",
            "commandParams": CALENDAR,
            "devices": plan.device_ids,
            "expiresAt": _in(plan.expires_seconds),
            "retry": plan.retry,
            "requestedBy": "demo",
        },
        idempotency_key="demo-set-tou",
    )
    report.submitted(asked)
    try:
        async with asyncio.timeout(plan.limit_seconds):
            with display_for(out) as display:
                return await follow(api, asked["taskId"], display)
    except TimeoutError:
        raise CommandFailed(f"the task was not over after {plan.limit_seconds:.0f} s") from None


async def _read_clock(plan: Plan, api: Api) -> Json:
    """A task of three devices as its whole document."""
    asked = await api.submit(
        {
            "commandId": "demo-read-clock",
            "commandType": "READ_CLOCK",
            "devices": plan.sample,
            "expiresAt": _in(plan.limit_seconds),
            "retry": plan.retry,
            "requestedBy": "demo",
        }
    )
    async with asyncio.timeout(plan.limit_seconds):
        await follow(api, asked["taskId"], Quiet())
    document: Json = msgspec.json.decode(b"".join([piece async for piece in api.stream_task(asked["taskId"])]))
    return document


async def _devices(plan: Plan, api: Api, task_id: str) -> dict[str, Json]:
    """Every device command with its result."""
    ids = [each["deviceId"] async for each in api.task_devices(task_id, {"limit": 1000})]
    turns = asyncio.Semaphore(READERS)

    async def read(device_id: str) -> Json:
        async with turns:
            return await api.task_device(task_id, device_id)

    found = await asyncio.gather(*map(read, ids))
    return {each["deviceId"]: each for each in found}


@contextmanager
def _directory(*, keep: bool, report: Report) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="metercast-demo-"))
    try:
        yield directory
    finally:
        if keep:
            report.kept(directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _simulator(plan: Plan, directory: Path) -> AsyncIterator[Child]:
    faults = directory / "faults.json"
    faults.write_bytes(msgspec.json.encode(plan.fault_rules))
    arguments = [
        "simulate",
        *("--meters", str(plan.meters), "--gateway", str(plan.gateway_meters), "--base-port", "0"),
        *("--faults", str(faults), "--log", str(directory / "meters.log")),
        *("--devices-out", str(directory / "meters.ndjson"), "--state-out", str(directory / "state.json")),
        "--until-stdin-closes",
    ]
    child = await Child.start("simulator", arguments, {}, directory)
    async with _ending(child):
        await child.first_line()
        yield child


@asynccontextmanager
async def _server(plan: Plan, directory: Path, database: str | None) -> AsyncIterator[tuple[Child, str]]:
    settings = {
        "METERCAST_DATABASE_URL": database or "",
        "METERCAST_PORT": "0",
        "METERCAST_PROGRESS_TIMEOUT_SECONDS": f"{plan.silence_seconds:g}",
        "METERCAST_CONNECT_TIMEOUT_SECONDS": f"{plan.silence_seconds:g}",
        "METERCAST_DRAIN_GRACE_SECONDS": "2",
    }
    child = await Child.start("server", ["serve", "--data-dir", str(directory / "data")], settings, directory)
    async with _ending(child):
        line = await child.first_line()
        if not line.startswith(SERVER_ADDRESS):
            raise CommandFailed(f"the server said {line!r}")
        yield child, line.removeprefix(SERVER_ADDRESS).split()[0]


@asynccontextmanager
async def _ending(child: Child) -> AsyncIterator[None]:
    """Ends the process on every way out, also where the demo is interrupted while it does."""
    try:
        yield
    finally:
        try:
            await child.stop()
        finally:
            child.kill()


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
