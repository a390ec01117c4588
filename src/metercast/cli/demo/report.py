"""What the demo tells."""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from metercast.cli.demo.plan import Json, Plan
from metercast.cli.output import counts_text, shown
from metercast.databases import without_password

SHOWN_PROBLEMS = 10


class Report:
    """To `out`, as things happen."""

    def __init__(self, plan: Plan, out: TextIO) -> None:
        self._plan = plan
        self._out = out
        self._started = time.monotonic()

    def started(self, url: str, database: str | None) -> None:
        meters = self._plan.meters
        self._say(f"{meters} simulated meters run on TCP: a third each without authentication, with LLS, with HLS-GMAC")
        self._say(f"and encryption; {self._plan.gateway_meters} of them behind one gateway. The server runs on {url}.")
        if database is not None:
            self._say(f"Its store is {without_password(database)}.")
        self._say("Faulty on purpose:")
        for misfits in self._plan.misfits:
            end = f"must end as {misfits.error}" if misfits.error else "must succeed by another attempt"
            self._say(f"  {len(misfits.numbers)} {misfits.story}: {end}")

    def registered(self, count: int) -> None:
        self._say(f"\nRegistered {count} meters.")

    def submitted(self, task: Json) -> None:
        self._say(f"Submitted SET_TOU for all of them: {task['taskId']}")

    def ended(self, task: Json, devices: Mapping[str, Json], problems: Sequence[str]) -> None:
        seconds = time.monotonic() - self._started
        outcome = f"{task['status']}, outcome {task['outcome']}"
        self._say(f"\nSET_TOU is {outcome}, {seconds:.1f} s after the demo began")
        self._say(f"  {counts_text(task['counts'])}")
        self._say("\nFailures by error")
        failed = [each for each in devices.values() if each["error"]]
        for word, count in Counter(each["error"] for each in failed).most_common():
            one = next(each for each in failed if each["error"] == word)
            self._say(shown(f"  {word:<21} {count}   {one['deviceId']}: {one['errorDetail']}"))
        if problems:
            self._say("\nNOT AS PLANNED")
            for problem in problems[:SHOWN_PROBLEMS]:
                self._say(f"  {shown(problem)}")
            if len(problems) > SHOWN_PROBLEMS:
                self._say(f"  ... and {len(problems) - SHOWN_PROBLEMS} more")
            return
        counts = task["counts"]
        self._say(
            f"\nAs planned. {counts['success']} meters hold the new calendar, as read back and as the simulator has it;"
        )
        self._say(f"the {counts['failed']} that failed hold their old one; no meter was ever in two sessions at once.")

    def document(self, task: Json, device: Json) -> None:
        self._say("\nA whole task document, GET /tasks/{taskId}: READ_CLOCK on three meters, one with a wrong key\n")
        self._say(document_text(task))
        result = msgspec.json.encode(device["result"]).decode()
        self._say(f"\nand what one of them answered, GET /tasks/{{taskId}}/devices/{device['deviceId']}: {result}")

    def next_steps(self) -> None:
        program = _program()
        self._say("\nTo use it for real")
        self._say(f"  {program} serve --data-dir data")
        self._say(f"  {program} devices import meters.csv")
        self._say(f"  {program} submit --type READ_CLOCK --watch DEVICE...")
        self._say("and open http://127.0.0.1:8080/schema in a browser: the reference of the API.")

    def kept(self, directory: Path) -> None:
        self._say(f"\nKept: {directory} (database, logs, the meters' records, states and sessions)")

    def _say(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def document_text(task: Json) -> str:
    """JSON with a field a line and a device a line, so that a small task fits a screen."""

    def text(value: object) -> str:
        return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()

    fields = [f"  {text(name)}: {text(value)}" for name, value in task.items() if name != "devices"]
    devices = ",\n".join(f"    {text(device)}" for device in task["devices"])
    return "{\n" + ",\n".join([*fields, f'  "devices": [\n{devices}\n  ]']) + "\n}"


def _program() -> str:
    """This program as one would call it from here."""
    called = Path(sys.argv[0])
    if called.name != "metercast" or not called.is_file():
        return "metercast"
    relative = os.path.relpath(called)
    return relative if len(relative) < len(str(called)) else str(called)
