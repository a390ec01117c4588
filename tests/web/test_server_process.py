"""The server as a process: what it writes, how it ends, and the one line that says why it does not start."""

import os
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

PROGRAM = """
import os, sys
from metercast.app import run
from metercast.config import Config, ConfigError
try:
    config = Config.load(os.environ)
except ConfigError as error:
    sys.exit(f"metercast: {error}")
sys.exit(run(config))
"""

RECORD = {
    "connection": {"host": "127.0.0.1", "port": 1},
    "associations": {"management": {"clientSap": 1, "authentication": "lls", "password": "pw"}},
}


def _environment(data_dir: Path, **settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("METERCAST_")}
    named = {f"METERCAST_{name.upper()}": value for name, value in settings.items()}
    return inherited | {"METERCAST_DATA_DIR": str(data_dir), "METERCAST_PORT": "0"} | named


@contextmanager
def _running(data_dir: Path, **settings: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process and its URL, as it said on its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=_environment(data_dir, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Metercast listens on "), (first, process.stderr and process.stderr.read())
        assert str(data_dir / "admin.key") in process.stdout.readline()
        yield process, first.split()[3]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _refused(data_dir: Path, **settings: str) -> str:
    """What it says where it does not start: one line on stderr, exit code 1, no traceback."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=_environment(data_dir, log_level="error", **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("metercast: ")
    return ended.stderr


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_writes_the_keys_and_sigterm_ends_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with _running(data_dir) as (process, url):
        assert _mode(data_dir) == 0o700
        assert all(_mode(path) == 0o600 for path in data_dir.iterdir())
        assert {"admin.key", "master.key", "metercast.db"} <= {path.name for path in data_dir.iterdir()}
        token = (data_dir / "admin.key").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/keys", headers=headers).json()["keys"][0]["name"] == "admin"
        assert httpx.get(f"{url}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=30)
        assert process.returncode == 0
        assert token not in logged
    with _running(data_dir) as (process, url):
        assert (data_dir / "admin.key").read_text().strip() == token
        assert httpx.get(f"{url}/keys", headers=headers).status_code == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_a_session_that_hangs_is_given_the_grace_time_and_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as meter:  # takes the connection, never answers
        with _running(tmp_path, drain_grace_seconds="600", retry_initial_delay_seconds="0.01") as (process, url):
            record = {"connection": {"host": "127.0.0.1", "port": meter.getsockname()[1]}}
            assert httpx.put(f"{url}/devices/m", json=record).status_code == 201
            body = {"commandId": "c", "commandType": "READ_CLOCK", "devices": ["m"]}
            assert httpx.post(f"{url}/tasks", json=body).status_code == 201
            connection, _ = meter.accept()
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            while "server.stopping" not in process.stderr.readline():
                pass
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            assert process.returncode == 1
            connection.close()
        with _running(tmp_path, drain_grace_seconds="1") as (process, url):
            # What was SENT is taken up again, and the grace time ends it.
            connection, _ = meter.accept()
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            assert process.returncode == 0
            connection.close()


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = _refused(tmp_path, port=str(port))
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said


def test_a_data_directory_in_use(tmp_path: Path) -> None:
    with _running(tmp_path):
        assert "in use by another process" in _refused(tmp_path)


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot make the data directory" in _refused(tmp_path / "file")


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "metercast.db").write_text("this is no database, and long enough to be looked at " * 100)
    assert "file is not a database" in _refused(tmp_path)


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "metercast.db")
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    assert "revision 9999" in _refused(tmp_path)


def test_a_master_key_that_is_another_or_is_gone(tmp_path: Path) -> None:
    with _running(tmp_path) as (process, url):
        assert httpx.put(f"{url}/devices/m", json=RECORD).status_code == 201
        process.send_signal(signal.SIGTERM)
        process.communicate()
    other = "00" * 32
    said = _refused(tmp_path, master_key=other)
    assert "sealed under master key" in said
    assert other not in said
    (tmp_path / "master.key").rename(tmp_path / "kept.key")
    assert "master.key is missing" in _refused(tmp_path)
    assert not (tmp_path / "master.key").exists()
    assert "holds no master key" in _refused(tmp_path, master_key="no key!")
    assert "cannot use" in _refused(tmp_path, master_key_file=str(tmp_path / "none.key"))
    with _running(tmp_path, master_key_file=str(tmp_path / "kept.key")) as (_, url):
        assert httpx.get(f"{url}/devices/m").json()["secrets"] == {"management": ["password"]}


def test_other_addresses_need_tls_or_a_proxy(tmp_path: Path) -> None:
    assert "'0.0.0.0' is not a loopback address" in _refused(tmp_path, host="0.0.0.0")
    (tmp_path / "cert.pem").write_text("nonsense")
    (tmp_path / "key.pem").write_text("nonsense")
    files = {"tls_certificate": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    assert "cannot use the TLS files" in _refused(tmp_path, host="0.0.0.0", **files)
    with _running(tmp_path, host="0.0.0.0", behind_proxy="true") as (_, url):
        address = url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{address}/tasks").status_code == 401
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_https(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with _running(tmp_path, tls_certificate=str(cert), tls_key=str(key)) as (_, url):
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        assert httpx.get(f"{url}/healthz", verify=context).status_code == 200


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, made now."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "made-cert.pem", tmp_path / "made-key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_a_wrong_profile_keeps_it_from_starting_and_a_right_one_can_be_named(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    file = own / "acme.toml"
    file.write_text('extends = "generic"\n[calendar]\nmax_seasons = 0\n')
    reason = "calendar.max_seasons: expected `int` >= 1; received 0"
    expected = f"metercast: a meter profile is wrong: {file}: {reason}\n"
    assert _refused(tmp_path / "data", profiles_dir=str(own)) == expected
    assert not (tmp_path / "data").exists()
    file.write_text('extends = "generic"\n[calendar]\nmax_seasons = 4\n')
    with _running(tmp_path / "data", profiles_dir=str(own)) as (_, url), httpx.Client(base_url=url) as client:
        assert client.put("/devices/m", json={**RECORD, "profile": "acme"}).json()["profile"] == "acme"
        refused = client.put("/devices/m", json={**RECORD, "profile": "ACME"})
        assert refused.status_code == 422
        assert "no such profile; known: acme, dsmr, generic" in refused.json()["detail"]
