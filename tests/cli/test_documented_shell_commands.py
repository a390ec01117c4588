"""The commands that README and the pages tell people to type are typed here, in a shell, for real."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.cli.support import SECONDS, child, environment, ready_line, running_server

from metercast.simulator import faults

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- run: (\w+) -->\n```sh\n(.*?)```", re.DOTALL)

# Stands in for curl on machines without it; it knows the options that the pages use.
CURL = """
import sys, urllib.error, urllib.request
arguments, method, headers, body, url = sys.argv[1:], None, {}, None, None
while arguments:
    option = arguments.pop(0)
    if option == "-X": method = arguments.pop(0)
    elif option == "-H":
        name, _, value = arguments.pop(0).partition(": ")
        headers[name] = value
    elif option == "-d": body = arguments.pop(0).encode()
    elif option == "-sS": pass
    elif option.startswith("-"): sys.exit(f"curl: {option} is not known here")
    else: url = option
try: answer = urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method))
except urllib.error.HTTPError as error: answer = error
sys.stdout.write(answer.read().decode())
"""


def blocks(page: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, commands in BLOCK.findall((ROOT / page).read_text()):
        found.setdefault(kind, []).append(commands)
    return found


def programs(directory: Path) -> str:
    """A PATH with `metercast`, `python3` of this environment, and curl."""
    directory.mkdir()
    shell = '#!/bin/sh\nexec {} "$@"\n'
    texts = {
        "metercast": shell.format(f"{sys.executable} -m metercast"),
        "python3": shell.format(sys.executable),
    }
    if shutil.which("curl") is None:
        (directory / "curl.py").write_text(CURL)
        texts["curl"] = shell.format(f"{sys.executable} {directory / 'curl.py'}")
    for name, text in texts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def one_command(block: list[str], program: str) -> list[str]:
    """The arguments of the only line of the only block."""
    (text,) = block
    name, *arguments = text.split()
    assert name == program
    assert text.count("\n") == 1
    return arguments


@pytest.mark.parametrize(
    ("page", "more", "shown"),
    [
        ("README.md", "docs/operations.md", ('"commandType":"READ_REGISTERS"', "COMPLETED 3 of 3: 3 success")),
        ("docs/quickstart.md", None, ("COMPLETED 5 of 5: 5 success", '"calendarName": "TARIFF27"', "Expired 1")),
    ],
)
def test_what_a_page_says_works(page: str, more: str | None, shown: tuple[str, ...], tmp_path: Path) -> None:
    found = blocks(page)
    serve = one_command(found["serve"], "metercast")
    assert serve == ["serve", "--data-dir", "data"]
    simulate = one_command(found["simulate"], "metercast")
    commands = found["use"] + (blocks(more)["use"] if more else [])
    path = programs(tmp_path / "bin")
    # The ports of the pages may be taken here: the system chooses, and the commands are told.
    given = [*simulate, "--base-port", "0", "--until-stdin-closes"]
    given[given.index("--devices-out") + 1] = str(tmp_path / "meters.ndjson")
    with (
        child(given, tmp_path / "simulator.log") as simulator,
        running_server(tmp_path / "data") as url,
    ):
        meter_port = msgspec.json.decode(ready_line(simulator))["first"]["port"]
        script = "\n".join(commands).replace("http://127.0.0.1:8080", url).replace("24059", str(meter_port))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment(METERCAST_URL=url, PATH=path),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for part in shown:
        assert part in done.stdout
    assert '"status":4' not in done.stdout, "a request of the page was refused"
    if more:
        assert (tmp_path / "backup.db").stat().st_size > 0


def test_what_the_page_of_databases_says_works(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin")
    page = (ROOT / "docs" / "databases.md").read_text()
    (retention,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "retention" in block]
    (migrate,) = blocks("docs/databases.md")["migrate"]
    with running_server(tmp_path / "data") as url:
        told = shell(retention, tmp_path, METERCAST_URL=url, PATH=path)
    assert "ended tasks are kept for ever" in told
    assert "0 tasks that ended before" in told
    assert "0 tasks with 0 devices: copied and compared" in shell(migrate, tmp_path, PATH=path)


def shell(commands: str, directory: Path, **settings: str) -> str:
    """What they print; they must succeed and complain of nothing."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=directory,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_faults_of_the_page_are_those_of_the_simulator() -> None:
    page = (ROOT / "docs" / "simulator.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|(.*)\|[^|]*\|$", page, re.MULTILINE))
    kinds = {str(fault.__struct_config__.tag): fault for fault in get_args(faults.AnyFault)}
    assert set(rows) == set(kinds)
    for kind, fault in kinds.items():
        names = {field.encode_name for field in msgspec.structs.fields(fault)} - {"times"}
        assert set(re.findall(r"`(\w+)`", rows[kind])) == names, kind


def test_the_fault_rules_of_the_page_are_rules() -> None:
    page = (ROOT / "docs" / "simulator.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(faults.parse_fault_rules(textwrap.dedent(example).encode())) == 3


def test_the_service_of_the_page_sets_settings_that_exist() -> None:
    from metercast.config import SETTINGS

    variables = {setting.variable for setting in SETTINGS} | {"METERCAST_API_KEY", "METERCAST_URL"}
    of_commands = {"METERCAST_MIGRATE_FROM", "METERCAST_MIGRATE_TO", "METERCAST_DEMO_DATABASE_URL"}
    variables |= of_commands
    for page in ("README.md", "docs/operations.md", "docs/quickstart.md", "docs/databases.md", "docs/profiles.md"):
        for name in re.findall(r"METERCAST_[A-Z_]+", (ROOT / page).read_text()):
            assert name in variables, f"{page}: {name}"


def test_the_metrics_of_the_page_exist() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    source = (ROOT / "src" / "metercast" / "web" / "metrics.py").read_text()
    for name in re.findall(r"metercast_[a-z_]+", page):
        assert f'"{name.removesuffix("_total")}"' in source
