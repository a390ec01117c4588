"""The demo as a process, with real meters and a real server; it cleans up on every way out."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.support import METERCAST, SECONDS, environment

ROOT = Path(__file__).parents[2]


def demo(temporary: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*METERCAST, "demo", "--meters", "30", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(TMPDIR=str(temporary), METERCAST_PORT="1"),  # its own settings go before those of the user
    )


def processes_of(directory: Path) -> list[str]:
    """The command lines that name the directory."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes()
        except OSError:
            continue
        if os.fsencode(directory) in line:
            found.append(line.decode(errors="replace").replace("\0", " "))
    return found


def test_it_ends_well_and_its_last_line_is_the_task(tmp_path: Path) -> None:
    with demo(tmp_path, "--json") as process:
        out, err = process.communicate(timeout=2 * SECONDS)
    assert process.returncode == 0, err
    task = json.loads(out.splitlines()[-1])
    assert out.count("\n") == 1
    assert (task["status"], task["outcome"], "devices" in task) == ("COMPLETED", "PARTIAL", False)
    assert task["counts"] == {"total": 30, "pending": 0, "sent": 0, "success": 24, "failed": 6, "cancelled": 0}
    for part in ("AuthenticationFailed  2", "Expired               2", "IdentityMismatch      1", "Timeout "):
        assert part in err
    assert '"devices": [' in err
    assert "/schema" in err
    assert "As planned. 24 meters" in err
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []
    assert_as_in_readme(err)


def assert_as_in_readme(output: str) -> None:
    """The README shows a run of 200 meters: the sentences are the same, the numbers are not."""

    def sentences(text: str) -> set[str]:
        plain = (re.sub(r"[0-9]+", "N", line) for line in text.splitlines())
        return {line for line in plain if re.match(r"^( {2}N [a-z]|[A-Z][a-z]+ [a-z]+|N |the N|As planned|and )", line)}

    readme = (ROOT / "README.md").read_text()
    shown = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)[0]
    assert len(sentences(shown)) >= 12
    missing = sentences(shown) - sentences(output)
    assert not {line for line in missing if not line.startswith("and what")}


def test_it_fails_where_a_meter_misbehaves_unexpectedly(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('[{"meters": ["meter-0017"], "faults": [{"kind": "reject-association"}]}]')
    kept = tmp_path / "kept"
    kept.mkdir()
    with demo(kept, "--faults", str(faults), "--keep") as process:
        out, _ = process.communicate(timeout=2 * SECONDS)
    assert process.returncode == 1
    problems = out.partition("NOT AS PLANNED\n")[2].partition("\n\n")[0].splitlines()
    assert any("meter-0017 is FAILED AssociationRejected" in problem for problem in problems)
    (directory,) = kept.iterdir()
    assert {"data", "meters.log", "state.json", "server.log"} <= {each.name for each in directory.iterdir()}
    assert processes_of(kept) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_cleans_up_where_it_is_ended_early(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("Submitted"):
            pass
        assert len(processes_of(tmp_path)) == 2
        process.send_signal(number)
        _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err.strip()) == (code, "")
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


def test_fault_rules_that_are_none_are_refused(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('[{"meters": ["meter-0017"], "faults": [{"kind": "no-such-fault"}]}]')
    with demo(tmp_path, "--faults", str(faults)) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (1, "")
    assert "no-such-fault" in err
    assert err.count("\n") == 1
