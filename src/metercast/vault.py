"""The vault: meters' secrets at rest, sealed under one master key, and the hashes of API keys.

A sealed blob is: version (1), id of the master key (8), nonce (12), AES-256-GCM ciphertext and tag. The device id is
authenticated with it, so a blob can't be moved to another meter.
"""

import base64
import binascii
import hashlib
import os
import secrets as randomness
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from metercast.domain.meter import Meter, MeterRecord, SealedMeter, Secrets

KEY_OCTETS = 32
_VERSION = b"\x01"
_KEY_ID = slice(1, 9)
_NONCE = slice(9, 21)
_SEALED = slice(21, None)

_record_decoder = msgspec.json.Decoder(MeterRecord)
_secrets_decoder = msgspec.json.Decoder(Secrets)


class VaultError(ValueError):
    """A key or a sealed blob is not what it should be. The text holds no secret."""


class Vault:
    """Seals and opens under one master key of 32 octets."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != KEY_OCTETS:
            raise VaultError(f"a master key has {KEY_OCTETS} octets, not {len(master_key)}")
        self._cipher = AESGCM(master_key)
        self._key_id = hashlib.blake2b(master_key, digest_size=8, person=b"metercast-vault").digest()

    def __repr__(self) -> str:
        return f"Vault(key {self.key_id})"

    @property
    def key_id(self) -> str:
        """What names the master key without telling it, hex."""
        return self._key_id.hex()

    def seal(self, device_id: str, secrets: Secrets) -> bytes | None:
        """The sealed secrets; None where there are none."""
        kept = {name: each for name, each in secrets.items() if each.names or each.replacements}
        if not kept:
            return None
        nonce = os.urandom(12)
        return _VERSION + self._key_id + nonce + self._cipher.encrypt(nonce, _encode(kept), device_id.encode())

    def open(self, stored: SealedMeter) -> Meter:
        """The record and its secrets; VaultError where they were sealed under another key, moved or changed."""
        record = _record_decoder.decode(stored.document)
        if stored.sealed is None:
            return Meter(stored.device_id, record, {})
        return Meter(stored.device_id, record, self._unseal(stored.device_id, stored.sealed))

    def _unseal(self, device_id: str, sealed: bytes) -> Secrets:
        if sealed[:1] != _VERSION:
            raise VaultError("the sealed secrets are of no known version")
        if sealed[_KEY_ID] != self._key_id:
            raise VaultError(
                f"the secrets were sealed under master key {sealed[_KEY_ID].hex()}, and this server has {self.key_id}"
            )
        try:
            return _secrets_decoder.decode(self._cipher.decrypt(sealed[_NONCE], sealed[_SEALED], device_id.encode()))
        except (InvalidTag, ValueError):
            raise VaultError("the sealed secrets were changed, or belong to another meter") from None


_encode = msgspec.json.Encoder().encode


def parse_master_key(text: bytes, where: str) -> bytes:
    """32 octets from hex, base64 or as they are; VaultError names `where` and never the key."""
    if len(text) == KEY_OCTETS and not (text.isascii() and text.decode().isprintable()):
        return text
    stripped = text.strip()
    try:
        key = bytes.fromhex(stripped.decode("ascii"))
    except ValueError:
        try:
            padded = stripped.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(stripped) % 4)
            key = base64.b64decode(padded, validate=True)
        except (binascii.Error, ValueError):
            raise VaultError(f"{where} holds no master key: neither hex nor base64") from None
    if len(key) != KEY_OCTETS:
        raise VaultError(f"{where} holds a master key of {len(key)} octets; it needs {KEY_OCTETS}")
    return key


def create_master_key(path: Path) -> bytes:
    """A new random key, written to `path` for the owner only. Raises OSError, also where `path` exists."""
    key = randomness.token_bytes(KEY_OCTETS)
    write_private(path, base64.b64encode(key).decode() + "\n")
    return key


def write_private(path: Path, text: str) -> None:
    """Creates `path`, mode 0600, durably and whole. FileExistsError where it exists."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
        os.link(temporary, path)
    finally:
        os.close(descriptor)
        os.unlink(temporary)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class NewApiKey(NamedTuple):
    """A key as its holder gets it, once; the store keeps `secret_hash` only."""

    key_id: str
    token: str
    secret_hash: bytes

    def __repr__(self) -> str:
        return f"NewApiKey({self.key_id!r})"


def new_api_key() -> NewApiKey:
    """`mc_<key id>_<256 random bits>`."""
    key_id = randomness.token_hex(6)
    token = f"mc_{key_id}_{randomness.token_urlsafe(32)}"
    return NewApiKey(key_id, token, hash_api_key(token))


def hash_api_key(token: str) -> bytes:
    """What a key is looked up by. A plain hash does: the token is random, so there is nothing to guess."""
    return hashlib.sha256(token.encode()).digest()
