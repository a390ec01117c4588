"""What docs/first-contact.md shows is run, and must come out as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from tests.cli.support import answers, running_simulator

from metercast.probe.report import Report

PAGE = (Path(__file__).parents[2] / "docs" / "first-contact.md").read_text()


def test_what_the_page_shows_comes_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (keys,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    Path("keys.json").write_text(keys)
    shown = re.findall(r"^\$ metercast (.*)\n((?:[^$`\n].*\n)*)", PAGE, re.MULTILINE)
    assert len(shown) >= 4
    for command, output in shown:
        assert answers(capsys, *shlex.split(command)) == output


def without_numbers(text: str) -> list[str]:
    """What changes from run to run: the port, the time, and how far the clock is off. And what simulated meters learn
    from time to time: services and objects."""
    text = re.sub(r"^(conformance|objects) .*$", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d\d)?", "TIME", text)
    return re.sub(r"[\d.]+ s (ahead|behind)", "SECONDS", text).splitlines()


def test_the_probe_of_the_page_comes_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (simulate,) = re.findall(r"<!-- run: simulate -->\n```sh\nmetercast simulate (.*)\n```", PAGE)
    (probe,) = re.findall(r"<!-- run: probe -->\n```sh\nmetercast probe (.*)\n```", PAGE)
    (shown,) = re.findall(r"```text\n(target .*?)```", PAGE, re.DOTALL)
    arguments = shlex.split(simulate.replace("--devices-out meters.ndjson", ""))
    with running_simulator(tmp_path, *arguments) as records:
        (port,) = re.findall(r'"port":(\d+)', records.read_text())
        printed = answers(capsys, "probe", probe.replace("24059", port), "--delay", "0")
    assert without_numbers(printed.partition("\n\n")[0]) == without_numbers(shown)
    assert "device record, without secrets" in printed
    assert "profile mmm-meter.toml" in printed


def test_the_page_names_the_fields_of_the_report() -> None:
    told = re.sub(r"\s+", " ", PAGE).partition("prints all of it as one object:")[2].partition("The exit code")[0]
    assert re.findall(r"`(\w+)`", told) == list(Report.__struct_encode_fields__)
