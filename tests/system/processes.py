"""The real server and the real simulator, each as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
from tests.system.stored import SqliteStored, Stored

SERVER = Path(__file__).with_name("server_with_test_commands.py")
SECONDS = 60.0


class SimulatorProcess:
    """Simulated meters on ports of their own, with their log, their records and their state."""

    def __init__(self, folder: Path, meters: int, *options: str, faults: list[dict[str, Any]] | None = None) -> None:
        self.log = folder / "simulator.ndjson"
        self.devices = folder / "devices.ndjson"
        self.state = folder / "state.json"
        self._errors = folder / "simulator.err"
        (folder / "faults.json").write_text(json.dumps(faults or []))
        files = ("--log", str(self.log), "--devices-out", str(self.devices), "--state-out", str(self.state))
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "metercast.simulator", "--meters", str(meters), "--base-port", "0", *files,
                 "--faults", str(folder / "faults.json"), "--until-stdin-closes", *options],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline() or "{}").get("ready"), self._errors.read_text()

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.devices.read_text().splitlines()]

    def look(self) -> dict[str, dict[str, Any]]:
        """The meters' physical state now."""
        self.state.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + SECONDS
        while not self.state.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        meters: dict[str, dict[str, Any]] = json.loads(self.state.read_text())["meters"]
        return meters

    def stop(self) -> dict[str, dict[str, Any]]:
        """Ends it in order; the meters' physical state at the end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0, self._errors.read_text()
        meters: dict[str, dict[str, Any]] = json.loads(self.state.read_text())["meters"]
        return meters

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        end(self.process)


class ServerProcess:
    """`metercast serve` with the commands of these tests, on one data directory; started again as often as wanted.

    `stored` is its database, where it is not the SQLite file of the data directory.
    """

    def __init__(self, folder: Path, stored: Stored | None = None, **settings: str) -> None:
        self.data_dir = folder / "data"
        self.file = SqliteStored(self.data_dir / "metercast.db")
        self.stored: Stored = stored or self.file
        self.errors = folder / "server.err"
        self._settings = {f"METERCAST_{name.upper()}": value for name, value in settings.items()}
        if stored is not None:
            self._settings["METERCAST_DATABASE_URL"] = stored.url
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def launch(self) -> "subprocess.Popen[str]":
        """Starts a process and does not wait for anything."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("METERCAST_")}
        with self.errors.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, str(SERVER), "serve", "--data-dir", str(self.data_dir), "--port", "0"],
                env=inherited | self._settings, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def start(self) -> None:
        """Returns when it listens."""
        self.process = self.launch()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Metercast listens on "), line + self.errors.read_text()
        self.url = line.split()[3]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        assert self.process.wait(SECONDS) == -signal.SIGKILL

    def terminate(self) -> int:
        """The exit code after SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The answer's document; anything but success is an assertion."""
        answer = httpx.request(method, self.url + path, timeout=SECONDS, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def register(self, simulator: SimulatorProcess) -> None:
        body = simulator.devices.read_bytes()
        self.call("POST", "/devices/import", content=body, headers={"Content-Type": "application/x-ndjson"})

    def submit(self, command: str, devices: list[str], **fields: Any) -> str:
        body = {"commandId": "0123456789abcdef01234567", "commandType": command, "devices": devices, **fields}
        task_id: str = self.call("POST", "/tasks", json=body)["taskId"]
        return task_id

    def task(self, task_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.call("GET", f"/tasks/{task_id}?devices=false")
        return document

    def final(self, task_ids: list[str], seconds: float = 120.0) -> list[dict[str, Any]]:
        """The tasks when all are over."""
        deadline = time.monotonic() + seconds
        while True:
            tasks = [self.task(each) for each in task_ids]
            if all(task["outcome"] for task in tasks):
                return tasks
            assert time.monotonic() < deadline, [(task["commandType"], task["counts"]) for task in tasks]
            time.sleep(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process is not None:
            end(self.process)


def end(process: "subprocess.Popen[Any]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
