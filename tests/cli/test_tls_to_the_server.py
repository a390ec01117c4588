"""The command line checks whose server it talks to."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.cli.support import answers, complains, running_server

from metercast.cli import exits


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "metercast test")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "server.pem", directory / "server.key"
    certificate_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def test_only_a_server_that_is_trusted_gets_the_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "KEY_FILE", "DATA_DIR", "CA_FILE", "URL"):
        monkeypatch.delenv(f"METERCAST_{name}", raising=False)
    own, key = certificate(tmp_path)
    settings = {"METERCAST_TLS_CERTIFICATE": str(own), "METERCAST_TLS_KEY": str(key)}
    with running_server(tmp_path / "data", **settings) as url:
        assert url.startswith("https://127.0.0.1:")
        arguments = ("keys", "list", "--url", url, "--data-dir", str(tmp_path / "data"))
        said = complains(capsys, *arguments, code=exits.NOT_REACHED)
        assert "TLS: self-signed certificate" in said
        assert "admin" in answers(capsys, *arguments, "--ca-file", str(own))
        assert "cannot use the certificates" in complains(capsys, *arguments, "--ca-file", str(key), code=exits.USAGE)
        other = url.replace("127.0.0.1", "localhost")
        said = complains(capsys, "tasks", "--url", other, "--ca-file", str(own), code=exits.NOT_REACHED)
        assert "TLS: " in said
