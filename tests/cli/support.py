"""Real processes for the tests of the command line, and the command line itself."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metercast.cli.main import run

SECONDS = 60
METERCAST = (sys.executable, "-m", "metercast")


def environment(**settings: str) -> dict[str, str]:
    """Ours without Metercast's own variables, and with `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METERCAST_")}
    return kept | settings


@contextmanager
def child(arguments: Sequence[str], log: Path, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """A `metercast` that runs until the end of the `with`."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*METERCAST, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment(**settings),
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def ready_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended before it was ready"
    return line


@contextmanager
def running_server(data_dir: Path, **settings: str) -> Iterator[str]:
    """The URL of a real server on this directory."""
    settings = {"METERCAST_PORT": "0", "METERCAST_DRAIN_GRACE_SECONDS": "3"} | settings
    with child(["serve", "--data-dir", str(data_dir)], data_dir.with_suffix(".log"), **settings) as process:
        yield ready_line(process).split()[3]


@contextmanager
def running_simulator(directory: Path, *arguments: str) -> Iterator[Path]:
    """The NDJSON records of real simulated meters."""
    records = directory / "meters.ndjson"
    given = ["simulate", "--base-port", "0", "--devices-out", str(records), "--until-stdin-closes", *arguments]
    with child(given, directory / "simulator.log") as process:
        assert json.loads(ready_line(process))["ready"] is True
        yield records


def answers(capsys: Any, *arguments: str, code: int = 0) -> str:
    """What the command prints; it must end with `code`, and print no traceback."""
    found = run(arguments)
    out, err = capsys.readouterr()
    assert found == code, f"exit code {found}: {err}"
    assert "Traceback" not in err
    if code == 0:
        assert err == ""
    return str(out)


def complains(capsys: Any, *arguments: str, code: int) -> str:
    """What the command says on stderr; it must end with `code`, and say nothing on stdout."""
    found = run(arguments)
    out, err = capsys.readouterr()
    assert (found, out) == (code, "")
    assert "Traceback" not in err
    return str(err)
