"""The proof: a server killed again and again in the middle of its work loses nothing and does nothing twice."""

import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.system.processes import ServerProcess, SimulatorProcess
from tests.system.stored import SqliteStored, Stored

from metercast.simulator.log import SessionOpened, executions, overlapping_sessions, read_log

RETRY = {"maxAttempts": 8, "initialDelaySeconds": 0.4, "maxDelaySeconds": 1.5}
MDI_RESET = (9, "0.0.10.0.1.255", 1)
# Slow meters keep sessions in flight, so that a kill hits them; some lose what they were told, after they did it.
FAULTS = [
    {"rate": 0.3, "faults": [{"kind": "delay-answers", "minimum": 0.1, "maximum": 0.8}]},
    {"count": 40, "faults": [{"kind": "lose-action-answer", "actions": 2}]},
    {"count": 40, "faults": [{"kind": "hold-association", "seconds": 1.0}]},
    {"count": 20, "faults": [{"kind": "refuse-connections", "seconds": 4.0}]},
    {"count": 20, "faults": [{"kind": "drop-connection", "afterReceived": 150, "times": 2}]},
    {"count": 20, "faults": [{"kind": "stale-counter", "ahead": 5000}]},
]


def submit_all(server: ServerProcess, meters: list[str]) -> dict[str, str]:
    """The task ids by command type."""
    tou = set_tou()
    params = {"activation": tou.pop("activation"), **tou}
    expires = {"retry": RETRY}
    return {
        "READ_CLOCK": server.submit("READ_CLOCK", meters, **expires),
        "TEST_MDI_RESET": server.submit("TEST_MDI_RESET", meters, **expires),
        "SET_TOU": server.submit("SET_TOU", meters, commandParams=params, **expires),
        "DISCONNECT": server.submit("DISCONNECT", meters[: len(meters) // 4], **expires),
        "RECONNECT": server.submit("RECONNECT", meters[: len(meters) // 4], **expires),
    }


def kill_and_restart(server: ServerProcess, chance: random.Random, number: int, since: datetime) -> Counter[str]:
    """At a random moment with sessions in flight; what the killed process had SENT."""
    while not server.stored.sent(since).total():
        time.sleep(0.02)
    delay = chance.uniform(0.05, 2.5)
    time.sleep(delay)
    server.kill()
    hit = server.stored.sent(since)
    began = time.monotonic()
    server.start()
    print(
        f"kill {number}, {delay:.2f} s into its sessions: {hit.total()} in flight"
        f" ({', '.join(f'{count} {name}' for name, count in sorted(hit.items()))});"
        f" up again after {time.monotonic() - began:.2f} s"
    )
    return hit


@pytest.mark.xdist_group("five kills")
def test_five_kills(tmp_path: Path, stored: Stored | None) -> None:
    chance = random.Random(20260508)
    settings = {"log_level": "warning", "session_limit": "300", "progress_timeout_seconds": "10"}
    fleet, kills = (stored or SqliteStored).fleet, (stored or SqliteStored).kills
    with (
        SimulatorProcess(tmp_path, fleet, "--gateway", "20", "--gateway-queues", faults=FAULTS) as simulator,
        ServerProcess(tmp_path, stored, **settings) as server,
    ):
        server.start()
        server.register(simulator)
        meters = [record["deviceId"] for record in simulator.records()]
        since = datetime.now(UTC)
        tasks = submit_all(server, meters)
        hit: Counter[str] = Counter()
        for number in range(1, kills + 1):
            hit += kill_and_restart(server, chance, number, since)
            since = datetime.now(UTC)
        final = dict(zip(tasks, server.final(list(tasks.values())), strict=True))
        assert server.terminate() == 0
        state = simulator.stop()
        print(f"hit in all: {dict(hit)}")
        for name, task in final.items():
            print(f"{name}: {task['status']}, {task['outcome']}, {task['counts']}")
    assert hit.total() > fleet // 20, "the kills hit nothing"
    for name, task in final.items():
        check_counts(server, task, fleet if name not in ("DISCONNECT", "RECONNECT") else fleet // 4)
    check_sessions(simulator)
    check_never_twice(server, tasks["TEST_MDI_RESET"], simulator)
    check_calendars(server, tasks["SET_TOU"], state, fleet)
    check_relays(server, tasks, state, fleet // 4)


def check_counts(server: ServerProcess, task: dict[str, Any], total: int) -> None:
    """Every device is final, and header, buckets and rows agree."""
    rows = Counter(status.lower() for _, status, _ in server.stored.devices(task["taskId"]))
    assert rows.keys() <= {"success", "failed"}, rows
    assert rows.total() == total
    counts = task["counts"]
    assert server.stored.bucket_counts(task["taskId"]) == (0, 0, counts["success"], counts["failed"], 0)
    assert (rows["success"], rows["failed"]) == (counts["success"], counts["failed"])
    assert task["status"] == "COMPLETED"


def check_sessions(simulator: SimulatorProcess) -> None:
    """The meters are the witness: each had one session at a time, over all kills and restarts."""
    events = list(read_log(simulator.log))
    print(f"sessions that the meters saw: {sum(isinstance(event, SessionOpened) for event in events)}")
    assert overlapping_sessions(events) == []


def check_never_twice(server: ServerProcess, task_id: str, simulator: SimulatorProcess) -> None:
    ran = {key[0]: count for key, count in executions(read_log(simulator.log)).items() if key[1:] == MDI_RESET}
    assert set(ran.values()) == {1}, "a command that must not be resent ran twice"
    rows = server.stored.devices(task_id)
    assert {device for device, status, _ in rows if status == "SUCCESS"} <= ran.keys()
    unknown = {device for device, _, error in rows if error == "OutcomeUnknown"}
    assert ran.keys() <= {device for device, status, _ in rows if status == "SUCCESS"} | unknown
    print(f"never resent: {len(ran)} meters ran it once; {len(unknown)} OutcomeUnknown, of which"
          f" {len(unknown & ran.keys())} had done it")  # fmt: skip


def check_calendars(server: ServerProcess, task_id: str, state: dict[str, dict[str, Any]], meters: int) -> None:
    done = succeeded(server, task_id)
    assert len(done) > 0.9 * meters
    assert {state[device]["activeCalendarName"] for device in done} == {"TOU26"}


def check_relays(server: ServerProcess, tasks: dict[str, str], state: dict[str, dict[str, Any]], meters: int) -> None:
    """A reconnect that succeeded is the last word, whatever became of the disconnect before it."""
    done = succeeded(server, tasks["RECONNECT"])
    assert len(done) > 0.9 * meters
    assert all(state[device]["relayConnected"] for device in done)


def succeeded(server: ServerProcess, task_id: str) -> list[str]:
    return [device for device, status, _ in server.stored.devices(task_id) if status == "SUCCESS"]
