"""A real server traces sessions with real simulated meters; what it writes is read by `decode`."""

import json
from pathlib import Path

import pytest
from tests.cli.support import answers, complains, running_server, running_simulator


def test_a_task_and_a_device_are_traced(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = tmp_path / "traces"
    with (
        running_simulator(tmp_path, "--meters", "3") as records,
        running_server(tmp_path / "data", METERCAST_TRACE_DIR=str(traces)) as url,
    ):
        monkeypatch.setenv("METERCAST_URL", url)
        answers(capsys, "devices", "import", str(records))
        meters = [json.loads(line) for line in records.read_text().splitlines()]
        submitted = ("submit", "--type", "READ_CLOCK", "--watch", "--json")
        answers(capsys, *submitted, "--trace", "5", *(meter["deviceId"] for meter in meters))
        assert len(list(traces.glob("*.pcap"))) == len(list(traces.glob("*.log"))) == 3
        trace = answers(capsys, "traces", "start", "meter-0003", "--sessions", "1").strip()
        answers(capsys, *submitted, "meter-0001", "meter-0003")
        answers(capsys, *submitted, "meter-0003")
        assert len(list(traces.glob("*.pcap"))) == 4
        listed = json.loads(answers(capsys, "traces", "list", "--json"))["traces"]
        assert [len(each["files"]) for each in listed] == [3, 1]
        assert trace in answers(capsys, "traces", "list")
        assert "files written: 1" in answers(capsys, "traces", "stop", trace)
        (name,) = listed[1]["files"]
        log = (traces / f"{name}.log").read_text()
        assert "glo-get-request" in log
        assert "class 8 0.0.1.0.0.255 attribute 2" in log
        decoded = answers(capsys, "decode", str(traces / f"{name}.pcap"), "--keys", str(records))
        assert "class 8 0.0.1.0.0.255 attribute 2" in decoded
        secrets = [
            meter["associations"]["management"][kind]
            for meter in meters
            for kind in ("password", "encryptionKey", "authenticationKey")
            if kind in meter["associations"]["management"]
        ]
        assert len(secrets) == 3
        for path in traces.iterdir():
            octets = path.read_bytes()
            for secret in secrets:
                assert secret.encode() not in octets
                assert secret.lower().encode() not in octets
                if len(secret) == 32:
                    assert bytes.fromhex(secret) not in octets


def test_wrong_wishes(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DEVICEs or --task" in complains(capsys, "traces", "start", code=2)
    with running_server(tmp_path / "data") as url:
        monkeypatch.setenv("METERCAST_URL", url)
        assert "METERCAST_TRACE_DIR" in complains(capsys, "traces", "start", "m", code=1)
        assert "no trace" in complains(capsys, "traces", "stop", "trace-x", code=1)
