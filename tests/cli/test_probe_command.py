"""`probe` prints what it found, drafts what to register, and tells by its exit code how far it came."""

import json
import socket
from pathlib import Path

import pytest
from tests.cli.support import answers, complains, running_simulator

from metercast.cli.main import run

QUICK = ("--delay", "0", "--timeout", "5")


def test_a_simulated_meter(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with running_simulator(tmp_path, "--meters", "1", "--security", "hls-gmac") as records:
        record = json.loads(records.read_text())
        target = f"127.0.0.1:{record['connection']['port']}"
        shown = answers(capsys, "probe", target, *QUICK)
        assert "framing             TCP wrapper, server 1\n" in shown
        assert "public client       16: accepted; answers RLRQ\n" in shown
        assert "logical devices     1 MMM" in shown
        device, profile = tmp_path / "device.json", tmp_path / "mmm-meter.toml"
        given = ("--credentials", str(records), "--device-out", str(device), "--profile-out", str(profile))
        report = json.loads(answers(capsys, "probe", target, *QUICK, "--json", *given))
        assert report["management"]["answer"] == "accepted"
        assert json.loads(device.read_text()) == report["draft"]["device"]
        assert profile.read_text() == report["draft"]["profile"]
        for secret in ("encryptionKey", "authenticationKey"):
            value = record["associations"]["management"][secret]
            assert value not in json.dumps(report).upper()
            assert value not in shown.upper()


def test_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = str(silent.getsockname()[1])
        assert "refused" in complains(capsys, "probe", f"127.0.0.1:{port}", *QUICK, code=3)
        silent.listen()
        assert run(["probe", f"127.0.0.1:{port}", "--delay", "0", "--timeout", "0.1"]) == 1
        assert "no DLMS was heard" in capsys.readouterr().out
    for target in ("", "host:0", "host:x", ":4059", "host:99999"):
        assert "no HOST:PORT" in complains(capsys, "probe", target, code=2)


def test_wrong_credentials_in_the_file_are_told_without_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "credentials.json"
    for written, part in (
        ("[]", "not a JSON object"),
        ("{", "credentials.json"),
        ('{"authentication": "lls"}', "lacks associations.management.password"),
        ('{"authentication": "lls", "password": 5}', "password"),
        ('{"authentication": "lls", "pasword": "T0PSECRET"}', "pasword"),
        ('{"associations": {}}', "no association named management"),
        ('{"invocationCounter": -1}', "whole number"),
        ('{"authentication": "hls-gmac", "encryptionKey": "T0PSECRET"}', "encryptionKey"),
    ):
        path.write_text(written)
        said = complains(capsys, "probe", "127.0.0.1:1", "--credentials", str(path), code=1)
        assert part in said
        assert "T0PSECRET" not in said


@pytest.mark.parametrize("more", [(), ("--hdlc",)])
@pytest.mark.parametrize("security", ["lls", "hls-gmac"])
def test_a_probe_is_traced(
    security: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    traces = tmp_path / "traces"
    with running_simulator(tmp_path, "--meters", "1", "--security", security, *more) as records:
        record = json.loads(records.read_text())
        target = f"127.0.0.1:{record['connection']['port']}"
        given = ("--credentials", str(records), "--trace", str(traces), "--timeout", "3", "--delay", "0")
        assert "traced in" in answers(capsys, "probe", target, *given)
    (log,) = traces.glob("*.log")
    (pcap,) = traces.glob("*.pcap")
    text, octets = log.read_text(), pcap.read_bytes()
    assert "AARQ" in text
    assert "class 15 0.0.40.0.0.255 attribute 2" in text
    decoded = answers(capsys, "decode", str(pcap), "--keys", str(records)) if security == "hls-gmac" else ""
    assert security != "hls-gmac" or "initiate-response" in decoded
    for kind in ("password", "encryptionKey", "authenticationKey"):
        secret = record["associations"]["management"].get(kind)
        if secret is not None:
            assert secret.encode() not in octets
            assert secret.upper() not in text.upper()
            assert len(secret) != 32 or bytes.fromhex(secret) not in octets
