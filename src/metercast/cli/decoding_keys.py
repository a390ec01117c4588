"""The file of keys that `decode` opens ciphered APDUs with: a set of keys, several, or meters' records."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metercast.cli.exits import CommandFailed

if TYPE_CHECKING:
    from metercast.dlms.deciphering import Keys

MAX_FILE = 16 << 20
MAX_SETS = 10_000
_NAMES = frozenset({"encryptionKey", "authenticationKey", "clientSystemTitle", "serverSystemTitle"})


def read_keys(path: Path) -> "list[Keys]":
    """JSON objects, one after the other or in an array: with encryptionKey and authenticationKey and, as known, the
    system titles, or device records as the import takes them. CommandFailed never tells a key."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from None
    if len(text) > MAX_FILE:
        raise CommandFailed(f"{path}: more than {MAX_FILE} octets")
    keys: list[Keys] = []
    for document in _documents(path, text):
        keys += _keys_in(path, document)
        if len(keys) > MAX_SETS:
            raise CommandFailed(f"{path}: more than {MAX_SETS} sets of keys")
    if not keys:
        raise CommandFailed(f"{path} holds no keys")
    return keys


def _documents(path: Path, text: bytes) -> list[dict[str, Any]]:
    import msgspec

    try:
        try:
            whole = msgspec.json.decode(text)
        except msgspec.DecodeError:
            lines = [line for line in text.splitlines() if line.strip()]
            if len(lines) < 2:
                raise
            whole = [msgspec.json.decode(line) for line in lines]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandFailed(f"{path}: {error}") from None
    documents = whole if isinstance(whole, list) else [whole]
    if not all(isinstance(document, dict) for document in documents):
        raise CommandFailed(f"{path}: not a JSON object")
    return documents


def _keys_in(path: Path, document: dict[str, Any]) -> "list[Keys]":
    associations = document.get("associations")
    if "encryptionKey" in document or "authenticationKey" in document or not isinstance(associations, dict):
        unknown = sorted(set(document) - _NAMES)
        if unknown:
            raise CommandFailed(f"{path}: {unknown[0][:40]!r} is none of {', '.join(sorted(_NAMES))}")
        return [_keys(path, document, document.get("serverSystemTitle"))]
    identity = document.get("identity")
    title = identity.get("serverSystemTitle") if isinstance(identity, dict) else None
    return [
        _keys(path, association, title)
        for association in associations.values()
        if isinstance(association, dict) and association.get("encryptionKey") is not None
    ]


def _keys(path: Path, given: dict[str, Any], server_system_title: Any) -> "Keys":
    from metercast.dlms.deciphering import Keys

    return Keys(
        _octets(path, "encryptionKey", given.get("encryptionKey"), 16, 32),
        _octets(path, "authenticationKey", given.get("authenticationKey"), 16, 32),
        _title(path, "clientSystemTitle", given.get("clientSystemTitle")),
        _title(path, "serverSystemTitle", server_system_title),
    )


def _title(path: Path, name: str, text: Any) -> bytes | None:
    return None if text is None else _octets(path, name, text, 8)


def _octets(path: Path, name: str, text: Any, *sizes: int) -> bytes:
    if text is None:
        raise CommandFailed(f"{path}: {name} is missing")
    try:
        octets = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        octets = b""
    if len(octets) not in sizes:
        digits = " or ".join(str(2 * size) for size in sizes)
        raise CommandFailed(f"{path}: {name} must be {digits} hexadecimal digits")
    return octets
