"""The simulator as a process: ready line, files, signals, and errors that say what is wrong."""

import asyncio
import json
import signal
import stat
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from tests.simulator.raw_client import AARQ_NONE, RawClient

from metercast.simulator import executions, read_log
from metercast.simulator.log import SessionClosed

SECONDS = 30
MDI_RESET = bytes.fromhex("c301c1000900000a0001ff0101120001")


async def simulate(*arguments: str) -> Process:
    command = (sys.executable, "-m", "metercast.simulator", "--base-port", "0", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)


async def ready(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
    document: dict[str, Any] = json.loads(line)
    assert document["ready"] is True
    return document


async def ended(process: Process) -> tuple[int, str]:
    _, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def test_a_run_with_all_its_files(tmp_path: Path) -> None:
    log, devices, state = tmp_path / "log.ndjson", tmp_path / "devices.ndjson", tmp_path / "state.json"
    files = ("--log", str(log), "--devices-out", str(devices), "--state-out", str(state))
    process = await simulate("--meters", "30", "--gateway", "5", "--seed", "3", *files)
    document = await ready(process)
    assert (document["meters"], document["gateways"], document["pid"]) == (30, ["gw-1"], process.pid)
    records = [json.loads(line) for line in devices.read_text().splitlines()]
    assert len(records) == 30
    assert stat.S_IMODE(devices.stat().st_mode) == 0o600
    connection = records[0]["connection"]
    async with RawClient((connection["host"], connection["port"])) as client:
        await client.ask(AARQ_NONE)
        await client.ask(MDI_RESET)
        assert not state.exists()
        process.send_signal(signal.SIGUSR1)
        for _ in range(1000):
            if state.exists():
                break
            await asyncio.sleep(0.01)
        assert json.loads(state.read_text())["meters"]["meter-0001"]["billingCounter"] == 1
        assert executions(read_log(log)) == {("meter-0001", 9, "0.0.10.0.1.255", 1): 1}
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == (0, "")
    final = json.loads(state.read_text())
    assert final["sequence"] == 2
    assert (
        final["meters"]["meter-0001"] | {"sessions": 1, "maxConcurrentSessions": 1, "billingCounter": 1}
        == (final["meters"]["meter-0001"])
    )
    assert len(final["meters"]) == 30
    assert isinstance(list(read_log(log))[-1], SessionClosed)


async def test_it_ends_with_its_standard_input() -> None:
    process = await simulate("--meters", "3", "--until-stdin-closes")
    await ready(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await ended(process) == (0, "")


async def test_it_ends_on_an_interrupt() -> None:
    process = await simulate("--meters", "3")
    await ready(process)
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (0, "")


async def test_wrong_fault_rules(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('[{"count": 1, "faults": [{"kind": "fire"}]}]')
    code, errors = await ended(await simulate("--faults", str(path)))
    assert code == 1
    assert "Invalid value 'fire'" in errors
    assert "Traceback" not in errors


async def test_a_port_that_is_taken() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    code, errors = await ended(await simulate("--meters", "1", "--base-port", str(port)))
    server.close()
    assert code == 1
    assert "Address already in use" in errors
    assert str(port) in errors
    assert "Traceback" not in errors


async def test_no_such_time_zone() -> None:
    code, errors = await ended(await simulate("--time-zone", "Europe/Nowhere"))
    assert code == 1
    assert "Europe/Nowhere" in errors
    assert "Traceback" not in errors
