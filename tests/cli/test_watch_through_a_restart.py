"""Who follows a task does not lose it where the server is started again."""

import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.support import METERCAST, SECONDS, answers, environment, running_server


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_watch_waits_for_a_server_that_restarts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "KEY_FILE", "DATA_DIR", "CA_FILE"):
        monkeypatch.delenv(f"METERCAST_{name}", raising=False)
    port = free_port()
    monkeypatch.setenv("METERCAST_URL", f"http://127.0.0.1:{port}")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    with running_server(tmp_path / "data", METERCAST_PORT=port) as url:
        task = answers(capsys, "submit", "--type", "READ_CLOCK", "--at", tomorrow, "--allow-unknown", "meter-1").strip()
        watch = subprocess.Popen(
            [*METERCAST, "watch", task],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(METERCAST_URL=url),
        )
        assert watch.stdout is not None
        assert "QUEUED 0 of 1" in watch.stdout.readline()
    assert watch.stderr is not None
    assert "trying again" in watch.stderr.readline()
    with running_server(tmp_path / "data", METERCAST_PORT=port), watch:
        answers(capsys, "cancel", task)
        out, _ = watch.communicate(timeout=SECONDS)
    assert watch.returncode == 12
    assert "CANCELLED 1 of 1: 1 cancelled" in out
