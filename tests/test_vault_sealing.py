"""The vault: sealed secrets open only where they belong, and keys are read from what people write."""

import base64
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.domain.meter import AssociationSecrets, Connection, MeterRecord, Secrets, StoredMeter
from metercast.vault import (
    Vault,
    VaultError,
    create_master_key,
    hash_api_key,
    new_api_key,
    parse_master_key,
    write_private,
)

KEY = bytes(range(32))
RECORD = MeterRecord(connection=Connection(host="10.0.0.1"))
SECRETS: Secrets = {
    "management": AssociationSecrets("pässword", "0A" * 16, "0B" * 16),
    "public": AssociationSecrets(None, "0C" * 16, None),
}


def _stored(sealed: bytes | None, device_id: str = "m-1") -> StoredMeter:
    now = datetime.now(UTC)
    return StoredMeter(device_id, msgspec.json.encode(RECORD), sealed, "c", 1, now, now)


def test_what_is_sealed_opens_again() -> None:
    vault = Vault(KEY)
    sealed = vault.seal("m-1", SECRETS)
    assert sealed is not None
    meter = Vault(KEY).open(_stored(sealed))
    assert (meter.device_id, meter.record, meter.secrets) == ("m-1", RECORD, SECRETS)
    for secret in (b"word", b"0A" * 16, bytes.fromhex("0A" * 16)):
        assert secret not in sealed


def test_nothing_to_seal() -> None:
    vault = Vault(KEY)
    assert vault.seal("m-1", {}) is None
    assert vault.seal("m-1", {"management": AssociationSecrets()}) is None
    assert vault.open(_stored(None)).secrets == {}


def test_each_sealing_is_another() -> None:
    vault = Vault(KEY)
    assert len({vault.seal("m-1", SECRETS) for _ in range(100)}) == 100


def test_a_blob_does_not_move_to_another_meter() -> None:
    vault = Vault(KEY)
    with pytest.raises(VaultError, match="belong to another meter"):
        vault.open(_stored(vault.seal("m-1", SECRETS), "m-2"))


def test_another_master_key_is_named_and_not_told() -> None:
    vault, other = Vault(KEY), Vault(KEY[::-1])
    with pytest.raises(VaultError, match=f"under master key {vault.key_id}, and this server has {other.key_id}"):
        other.open(_stored(vault.seal("m-1", SECRETS)))
    assert KEY.hex() not in repr(vault)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_changed_bit_is_noticed(position: int, bit: int) -> None:
    vault = Vault(KEY)
    sealed = vault.seal("m-1", SECRETS)
    assert sealed is not None
    changed = bytearray(sealed)
    changed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(VaultError):
        vault.open(_stored(bytes(changed)))


@given(st.binary(max_size=80))
def test_any_octets_are_refused_as_a_blob(sealed: bytes) -> None:
    with pytest.raises(VaultError):
        Vault(KEY).open(_stored(sealed))


@pytest.mark.parametrize(
    "text",
    [
        KEY,  # raw
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\n",
        base64.b64encode(KEY),
        base64.b64encode(KEY) + b"\r\n",
        base64.b64encode(KEY).rstrip(b"="),
        base64.urlsafe_b64encode(KEY),
    ],
)
def test_a_master_key_as_people_write_it(text: bytes) -> None:
    assert parse_master_key(text, "here") == KEY


@pytest.mark.parametrize("text", [b"", b"\n", b"no key!", b"00" * 16, b"00" * 33, b"\xff" * 31, b"z" * 64])
def test_what_is_no_master_key(text: bytes) -> None:
    with pytest.raises(VaultError, match=r"^here holds") as caught:
        parse_master_key(text, "here")
    assert text.decode("latin-1").strip() not in str(caught.value) or not text.strip()


def test_a_vault_takes_no_other_key() -> None:
    with pytest.raises(VaultError, match="32 octets, not 16"):
        Vault(bytes(16))


def test_a_new_master_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    os.umask(os.umask(0))
    key = create_master_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_master_key(path.read_bytes(), "file") == key
    with pytest.raises(FileExistsError):
        create_master_key(path)
    assert parse_master_key(path.read_bytes(), "file") == key
    with pytest.raises(FileExistsError):
        write_private(path, "other")
    assert [each.name for each in tmp_path.iterdir()] == ["master.key"]


def test_api_keys_are_random_and_found_by_their_hash() -> None:
    keys = [new_api_key() for _ in range(100)]
    assert len({key.token for key in keys}) == len({key.key_id for key in keys}) == 100
    for key in keys:
        assert key.token.startswith(f"mc_{key.key_id}_")
        assert len(key.token) == len("mc_") + 12 + 1 + 43
        assert hash_api_key(key.token) == key.secret_hash
        assert key.token not in repr(key)
        assert len(key.secret_hash) == 32
